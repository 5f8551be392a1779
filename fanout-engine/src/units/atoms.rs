//! The atoms: what UCUM's table (version 2.1) says of the units people put into data.

use super::Dimension;

/// One atom against the base units.
pub(super) struct Atom {
    pub(super) code: &'static str,
    pub(super) dimension: Dimension,
    /// Decimal texts, exact as UCUM defines them.
    pub(super) numerator: &'static str,
    pub(super) denominator: &'static str,
    /// Added before the factor; only for temperatures.
    pub(super) shift: &'static str,
    /// Whether a prefix may stand before it.
    pub(super) metric: bool,
}

const NONE: Dimension = [0; 8];
const LENGTH: Dimension = [1, 0, 0, 0, 0, 0, 0, 0];
const AREA: Dimension = [2, 0, 0, 0, 0, 0, 0, 0];
const VOLUME: Dimension = [3, 0, 0, 0, 0, 0, 0, 0];
const TIME: Dimension = [0, 1, 0, 0, 0, 0, 0, 0];
const FREQUENCY: Dimension = [0, -1, 0, 0, 0, 0, 0, 0];
const MASS: Dimension = [0, 0, 1, 0, 0, 0, 0, 0];
const ANGLE: Dimension = [0, 0, 0, 1, 0, 0, 0, 0];
const SOLID_ANGLE: Dimension = [0, 0, 0, 2, 0, 0, 0, 0];
const TEMPERATURE: Dimension = [0, 0, 0, 0, 1, 0, 0, 0];
const CHARGE: Dimension = [0, 0, 0, 0, 0, 1, 0, 0];
const CURRENT: Dimension = [0, -1, 0, 0, 0, 1, 0, 0];
const LUMINOUS: Dimension = [0, 0, 0, 0, 0, 0, 1, 0];
const SPEED: Dimension = [1, -1, 0, 0, 0, 0, 0, 0];
const FORCE: Dimension = [1, -2, 1, 0, 0, 0, 0, 0];
const PRESSURE: Dimension = [-1, -2, 1, 0, 0, 0, 0, 0];
const ENERGY: Dimension = [2, -2, 1, 0, 0, 0, 0, 0];
const POWER: Dimension = [2, -3, 1, 0, 0, 0, 0, 0];
const VOLTAGE: Dimension = [2, -2, 1, 0, 0, -1, 0, 0];
const RESISTANCE: Dimension = [2, -1, 1, 0, 0, -2, 0, 0];
const LUX: Dimension = [-2, 0, 0, 2, 0, 0, 1, 0];
const LUMEN: Dimension = [0, 0, 0, 2, 0, 0, 1, 0];
const INFORMATION: Dimension = [0, 0, 0, 0, 0, 0, 0, 1];

const fn metric(code: &'static str, dimension: Dimension, numerator: &'static str) -> Atom {
    Atom { code, dimension, numerator, denominator: "1", shift: "0", metric: true }
}

const fn plain(code: &'static str, dimension: Dimension, numerator: &'static str) -> Atom {
    Atom { code, dimension, numerator, denominator: "1", shift: "0", metric: false }
}

const fn ratio(code: &'static str, dimension: Dimension, numerator: &'static str, denominator: &'static str) -> Atom {
    Atom { code, dimension, numerator, denominator, shift: "0", metric: false }
}

/// Every atom. The gram is the base of mass, so a newton is 1,000 g·m/s².
pub(super) static ATOMS: &[Atom] = &[
    // Base units.
    metric("m", LENGTH, "1"),
    metric("s", TIME, "1"),
    metric("g", MASS, "1"),
    metric("rad", ANGLE, "1"),
    metric("K", TEMPERATURE, "1"),
    metric("C", CHARGE, "1"),
    metric("cd", LUMINOUS, "1"),
    // Numbers.
    ratio("%", NONE, "1", "100"),
    ratio("[ppth]", NONE, "1", "1000"),
    ratio("[ppm]", NONE, "1", "1000000"),
    ratio("[ppb]", NONE, "1", "1000000000"),
    plain("10*", NONE, "10"),
    plain("10^", NONE, "10"),
    // Temperature.
    Atom { code: "Cel", dimension: TEMPERATURE, numerator: "1", denominator: "1", shift: "273.15", metric: false },
    Atom { code: "[degF]", dimension: TEMPERATURE, numerator: "5", denominator: "9", shift: "459.67", metric: false },
    ratio("[degR]", TEMPERATURE, "5", "9"),
    // Time.
    plain("min", TIME, "60"),
    plain("h", TIME, "3600"),
    plain("d", TIME, "86400"),
    plain("wk", TIME, "604800"),
    plain("mo", TIME, "2629800"),
    plain("a", TIME, "31557600"),
    metric("Hz", FREQUENCY, "1"),
    metric("Bq", FREQUENCY, "1"),
    // Length, area, volume.
    plain("[in_i]", LENGTH, "0.0254"),
    plain("[ft_i]", LENGTH, "0.3048"),
    plain("[yd_i]", LENGTH, "0.9144"),
    plain("[mi_i]", LENGTH, "1609.344"),
    plain("[nmi_i]", LENGTH, "1852"),
    ratio("[mi_us]", LENGTH, "6336000", "3937"),
    plain("[in_us]", LENGTH, "0.025400050800101600203200406401"),
    ratio("[ft_us]", LENGTH, "1200", "3937"),
    metric("ar", AREA, "100"),
    plain("[acr_br]", AREA, "4046.8564224"),
    plain("[sft_i]", AREA, "0.09290304"),
    metric("l", VOLUME, "0.001"),
    metric("L", VOLUME, "0.001"),
    plain("[gal_us]", VOLUME, "0.003785411784"),
    plain("[qt_us]", VOLUME, "0.000946352946"),
    plain("[pt_us]", VOLUME, "0.000473176473"),
    plain("[foz_us]", VOLUME, "0.0000295735295625"),
    plain("[bbl_us]", VOLUME, "0.158987294928"),
    plain("[gal_br]", VOLUME, "0.00454609"),
    plain("[cft_i]", VOLUME, "0.028316846592"),
    // Speed.
    ratio("[kn_i]", SPEED, "1852", "3600"),
    // Mass.
    metric("t", MASS, "1000000"),
    plain("[lb_av]", MASS, "453.59237"),
    plain("[oz_av]", MASS, "28.349523125"),
    plain("[stone_av]", MASS, "6350.29318"),
    plain("[ston_av]", MASS, "907184.74"),
    plain("[lton_av]", MASS, "1016046.9088"),
    plain("[oz_tr]", MASS, "31.1034768"),
    // Force, pressure. Mercury and water columns as UCUM has them: 133.3220 and 9.80665 kPa a metre.
    metric("N", FORCE, "1000"),
    plain("[lbf_av]", FORCE, "4448.2216152605"),
    metric("Pa", PRESSURE, "1000"),
    metric("bar", PRESSURE, "100000000"),
    plain("atm", PRESSURE, "101325000"),
    metric("m[Hg]", PRESSURE, "133322000"),
    metric("m[H2O]", PRESSURE, "9806650"),
    plain("[in_i'Hg]", PRESSURE, "3386378.8"),
    plain("[in_i'H2O]", PRESSURE, "249088.91"),
    ratio("[psi]", PRESSURE, "4448.2216152605", "0.00064516"),
    // Energy, power, electricity.
    metric("J", ENERGY, "1000"),
    metric("cal", ENERGY, "4184"),
    metric("cal_IT", ENERGY, "4186.8"),
    plain("[Cal]", ENERGY, "4184000"),
    plain("[Btu_IT]", ENERGY, "1055055.85262"),
    metric("W", POWER, "1000"),
    plain("[HP]", POWER, "745699.87158227022"),
    metric("A", CURRENT, "1"),
    metric("V", VOLTAGE, "1000"),
    metric("Ohm", RESISTANCE, "1000"),
    // Angle and light.
    ratio("deg", ANGLE, "3.14159265358979323846264338", "180"),
    metric("gon", ANGLE, "0.015707963267948966192313217"),
    ratio("'", ANGLE, "3.14159265358979323846264338", "10800"),
    ratio("''", ANGLE, "3.14159265358979323846264338", "648000"),
    plain("circ", ANGLE, "6.28318530717958647692528677"),
    metric("sr", SOLID_ANGLE, "1"),
    metric("lm", LUMEN, "1"),
    metric("lx", LUX, "1"),
    // Information. A byte is eight bits.
    metric("bit", INFORMATION, "1"),
    metric("By", INFORMATION, "8"),
];

/// Prefixes and their value as a fraction of decimal texts.
pub(super) static PREFIXES: &[(&str, &str, &str)] = &[
    ("Ki", "1024", "1"),
    ("Mi", "1048576", "1"),
    ("Gi", "1073741824", "1"),
    ("Ti", "1099511627776", "1"),
    ("P", "1000000000000000", "1"),
    ("T", "1000000000000", "1"),
    ("G", "1000000000", "1"),
    ("M", "1000000", "1"),
    ("k", "1000", "1"),
    ("h", "100", "1"),
    ("da", "10", "1"),
    ("d", "1", "10"),
    ("c", "1", "100"),
    ("m", "1", "1000"),
    ("u", "1", "1000000"),
    ("n", "1", "1000000000"),
    ("p", "1", "1000000000000"),
    ("f", "1", "1000000000000000"),
];

/// What people write, and the code for it.
pub(super) static MEANT: &[(&str, &str)] = &[
    ("mph", "[mi_i]/h"),
    ("kmh", "km/h"),
    ("kph", "km/h"),
    ("kn", "[kn_i]"),
    ("kt", "[kn_i]"),
    ("knot", "[kn_i]"),
    ("knots", "[kn_i]"),
    ("f", "[degF]"),
    ("°f", "[degF]"),
    ("degf", "[degF]"),
    ("fahrenheit", "[degF]"),
    ("°c", "Cel"),
    ("degc", "Cel"),
    ("cel", "Cel"),
    ("celsius", "Cel"),
    ("kelvin", "K"),
    ("inhg", "[in_i'Hg]"),
    ("mmhg", "mm[Hg]"),
    ("psi", "[psi]"),
    ("mb", "mbar"),
    ("in", "[in_i]"),
    ("inch", "[in_i]"),
    ("inches", "[in_i]"),
    ("ft", "[ft_i]"),
    ("feet", "[ft_i]"),
    ("yd", "[yd_i]"),
    ("mi", "[mi_i]"),
    ("mile", "[mi_i]"),
    ("miles", "[mi_i]"),
    ("nmi", "[nmi_i]"),
    ("lb", "[lb_av]"),
    ("lbs", "[lb_av]"),
    ("oz", "[oz_av]"),
    ("gal", "[gal_us]"),
    ("acre", "[acr_br]"),
    ("ha", "har"),
    ("btu", "[Btu_IT]"),
    ("hp", "[HP]"),
    ("sec", "s"),
    ("hr", "h"),
    ("day", "d"),
    ("year", "a"),
    ("byte", "By"),
    ("ppm", "[ppm]"),
    ("percent", "%"),
    ("degrees", "deg"),
];
