use proptest::prelude::*;

use super::atoms::{ATOMS, MEANT};
use super::*;

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-9 * left.abs().max(right.abs()).max(1.0)
}

#[test]
fn known_conversions_have_their_published_values() {
    for (from, value, to, expected) in [
        ("[degF]", 212.0, "Cel", 100.0),
        ("[degF]", 32.0, "K", 273.15),
        ("Cel", -40.0, "[degF]", -40.0),
        ("[mi_i]/h", 10.0, "km/h", 16.09344),
        ("[mi_i]/h", 1.0, "m/s", 0.44704),
        ("[kn_i]", 1.0, "km/h", 1.852),
        ("hPa", 1013.25, "atm", 1.0),
        ("mbar", 1.0, "hPa", 1.0),
        ("mbar", 1.0, "Pa", 100.0),
        ("[in_i'Hg]", 1.0, "hPa", 33.863788),
        ("[in_i]", 1.0, "mm", 25.4),
        ("[mi_i]", 1.0, "km", 1.609344),
        ("[ft_i]", 1.0, "m", 0.3048),
        ("[lb_av]", 1.0, "kg", 0.45359237),
        ("[gal_us]", 1.0, "L", 3.785411784),
        ("kW.h", 1.0, "MJ", 3.6),
        ("m3/s", 1.0, "L/min", 60_000.0),
        ("g/cm3", 1.0, "kg.m-3", 1_000.0),
        ("deg", 180.0, "rad", std::f64::consts::PI),
        ("%", 50.0, "[ppth]", 500.0),
        ("MiBy", 1.0, "KiBy", 1_024.0),
        ("har", 1.0, "m2", 10_000.0),
        ("/min", 60.0, "Hz", 1.0),
        ("[psi]", 1.0, "Pa", 6_894.757_293_168_361),
    ] {
        let found = convert(from, to).unwrap().apply(value);
        assert!(close(found, expected), "{value} {from} = {found} {to}, not {expected}");
    }
}

#[test]
fn a_decimal_factor_is_rounded_only_once() {
    assert_eq!(convert("[mi_i]/h", "km/h").unwrap(), Linear { factor: 1.609344, offset: 0.0 });
    assert_eq!(convert("[degF]", "Cel").unwrap(), Linear { factor: 5.0 / 9.0, offset: -160.0 / 9.0 });
    assert_eq!(convert("hPa", "hPa").unwrap(), Linear { factor: 1.0, offset: 0.0 });
}

#[test]
fn different_dimensions_are_refused() {
    for (from, to) in [("m", "s"), ("Cel", "m"), ("km/h", "km"), ("hPa", "N"), ("W", "J"), ("By", "%")] {
        assert!(matches!(convert(from, to), Err(UnitError::Dimension { .. })), "{from} {to}");
    }
}

#[test]
fn unknown_codes_are_refused_with_what_was_perhaps_meant() {
    let error = convert("mph", "km/h").unwrap_err().to_string();
    assert_eq!(error, r#""mph" is not a known UCUM code; "[mi_i]/h" is"#);
    for wrong in ["", "/", ".", "m/", "kmm", "Cel/h", "m99", "0", "km h", "[", "k[mi_i]", "m-", "2m", "é", "m/é"] {
        assert!(matches!(check(wrong), Err(UnitError::Unknown { .. })), "{wrong:?}");
    }
}

#[test]
fn every_atom_and_every_hint_is_readable() {
    for atom in ATOMS {
        assert_eq!(check(atom.code), Ok(()), "{}", atom.code);
    }
    for (written, meant) in MEANT {
        assert_eq!(check(meant), Ok(()), "{written}");
    }
}

proptest! {
    #[test]
    fn there_and_back_is_the_same_value(from in 0..ATOMS.len(), to in 0..ATOMS.len(), value in -1e6..1e6_f64) {
        let (from, to) = (&ATOMS[from], &ATOMS[to]);
        if from.dimension == to.dimension && let Ok(there) = convert(from.code, to.code) {
            let back = convert(to.code, from.code).unwrap();
            let found = back.apply(there.apply(value));
            prop_assert!((found - value).abs() <= 1e-6 * value.abs().max(1.0), "{} {}: {value} {found}", from.code, to.code);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,80}") {
        let _ = check(&text);
    }
}
