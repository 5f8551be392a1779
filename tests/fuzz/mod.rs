//! Mutated input for a parser, on the stable toolchain and without a library: shared by the tests of the
//! crates that parse (`#[cfg(test)] mod fuzz`), each with what it parses and something to begin with.
//!
//! Inputs are made from seeds by small changes. An input that is answered in a new way becomes a seed
//! itself, so that the search goes on from where it got furthest. A parser must neither panic nor take
//! long nor take much memory, whatever comes; what it reads it must read again as it wrote it, which the
//! target says itself.
//!
//! `HEADGATE_FUZZ_ROUNDS` and `HEADGATE_FUZZ_SEED` set how long and from where; `cargo xtask soak --fuzz`
//! plays many.

use std::collections::HashSet;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// Inputs per target where nothing else is said: a second or two.
const ROUNDS: u64 = 3_000;
/// The longest that one input may take, on a machine that does other things as well.
const LONGEST: Duration = Duration::from_secs(20);
/// How much the process may grow over all inputs of a target, in KiB.
const MOST_MEMORY: u64 = 768 << 10;
/// The longest input made.
const MOST_BYTES: usize = 16 << 10;
/// Seeds kept beside the given ones.
const MOST_SEEDS: usize = 2_000;

/// Words that break parsers, whatever they parse.
const WORDS: &[&str] = &[
    "null",
    "true",
    "NaN",
    "-0.0",
    "1e309",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "0.1",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\u{202e}",
    "é",
    "東京",
    "''",
    "\"\"",
    "((((",
    "[[[[",
    "{{{{",
    "\\",
    "\0",
    "\r\n",
    "--",
    "/*",
    "%",
    "2024-02-30T25:61:61Z",
    "0000-01-01",
    "+262143-12-31",
    "..",
    "//",
    "AND",
    "OR",
    "NOT",
    "CASE WHEN",
    "CAST(",
    "^",
    "10*",
    "1h",
    "* * * * *",
];

/// What separates words in one language or another.
const MARKS: &[u8] = b"\"'()[]{}<>,.:;=!+-*/\\ \n\t\0~^|&%$#@_0a";

/// Runs `parse` over inputs made from `seeds`. Its answer says what kind of end it came to: an error's
/// code, or what was read in rough.
pub(crate) fn bytes<T: Debug>(target: &str, seeds: &[&[u8]], parse: impl Fn(&[u8]) -> T) {
    let number = |name: &str, usual: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let rounds = number("HEADGATE_FUZZ_ROUNDS", ROUNDS);
    let mut chance =
        Chance(number("HEADGATE_FUZZ_SEED", 1) ^ target.bytes().fold(7_u64, |n, b| n.wrapping_mul(31) ^ u64::from(b)));
    let mut seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    let mut seen = HashSet::new();
    let (before, begun) = (peak_memory(), Instant::now());
    for round in 0..rounds {
        let given = seeds.len() as u64;
        // The seeds themselves come first, and as they are.
        let input = if round < given { seeds[round as usize].clone() } else { mutated(&seeds, &mut chance) };
        let start = Instant::now();
        let answer = match catch_unwind(AssertUnwindSafe(|| parse(&input))) {
            Ok(answer) => answer,
            Err(panic) => {
                eprintln!("{target} panics at round {round} on b\"{}\"", input.escape_ascii());
                resume_unwind(panic)
            }
        };
        let took = start.elapsed();
        assert!(took < LONGEST, "{target} takes {took:?} on b\"{}\"", input.escape_ascii());
        let grown = peak_memory().saturating_sub(before);
        assert!(grown < MOST_MEMORY, "{target} takes {grown} KiB on b\"{}\"", input.escape_ascii());
        // Digits are what inputs differ in without being different.
        let kind: String = format!("{answer:?}").chars().filter(|c| !c.is_ascii_digit()).take(120).collect();
        if seen.insert(kind) && seeds.len() < MOST_SEEDS {
            seeds.push(input);
        }
    }
    eprintln!("{target}: {rounds} inputs, {} kinds of answer, {:?}", seen.len(), begun.elapsed());
}

/// The same for text.
#[allow(dead_code, reason = "not every crate reads text")]
pub(crate) fn text<T: Debug>(target: &str, seeds: &[&str], parse: impl Fn(&str) -> T) {
    let seeds: Vec<&[u8]> = seeds.iter().map(|seed| seed.as_bytes()).collect();
    bytes(target, &seeds, |input| parse(&String::from_utf8_lossy(input)));
}

fn mutated(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let pick = |chance: &mut Chance| &seeds[chance.below(seeds.len())];
    let mut input = pick(chance).clone();
    for _ in 0..1 + chance.below(4) {
        let at = chance.below(input.len() + 1);
        let end = (at + chance.below(16)).min(input.len());
        match chance.below(12) {
            0 if at < input.len() => input[at] ^= 1 << chance.below(8),
            1 if at < input.len() => input[at] = chance.next() as u8,
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            // A part again, once or very often.
            4 => {
                let part = input[at..end].to_vec();
                let times = if chance.below(8) == 0 { 1 + chance.below(500) } else { 1 };
                input.splice(at..at, part.repeat(times));
            }
            5 => drop(input.splice(at..at, WORDS[chance.below(WORDS.len())].bytes())),
            6 => drop(input.splice(at..end, WORDS[chance.below(WORDS.len())].bytes())),
            // The end of another.
            7 => {
                let other = pick(chance);
                input.truncate(at);
                input.extend_from_slice(&other[chance.below(other.len() + 1)..]);
            }
            // A number that is out of place.
            8 if at + 8 <= input.len() => {
                let value = [0, 1, u64::MAX, i64::MAX as u64, 1 << 32, chance.next()][chance.below(6)];
                input[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            9 if at + 4 <= input.len() => {
                let value = [0, 1, u32::MAX, i32::MAX as u32, 1 << 16][chance.below(5)];
                input[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            // A word of the language by another of it.
            10 => {
                let word = |bytes: &[u8], from: usize| {
                    let rest = bytes[from..].iter();
                    from + rest.take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count()
                };
                let other = pick(chance);
                let from = chance.below(other.len() + 1);
                let other = other[from..word(other, from)].to_vec();
                let end = word(&input, at);
                input.splice(at..end, other);
            }
            _ => input.insert(at, MARKS[chance.below(MARKS.len())]),
        }
        input.truncate(MOST_BYTES);
    }
    input
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// The most memory the process has had so far, in KiB (`VmHWM`); 0 where nobody says.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}
