//! Runs every fuzz target over its seeds and over mutations of them, without instrumentation: the
//! short run of `script/test`. `STARTCLAW_FUZZ_RUNS` sets how many mutations of each target.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use startclaw_fuzz::TARGETS;

/// A quarter of the stack of tokio's workers.
const STACK: usize = 512 << 10;
const WORDS: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "'",
    "\\",
    "//",
    "/*",
    "*/",
    "\n",
    "\r\n",
    "\u{2028}",
    "0x",
    "1e999",
    "-Infinity",
    "NaN",
    "null",
    "\\u0041",
    "\\ud83d\\ude00",
    "gateway",
    "auth",
    "token",
    "channels",
    "telegram",
    "botToken",
    "enabled",
    "payload",
    "suspensionId",
    "channelAccounts",
    "allowFrom",
    "lines",
    "senderUserId",
    "18446744073709551616",
];

/// xorshift64: the same numbers in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }
}

fn mutated(seeds: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut data = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..=numbers.below(8) {
        let at = numbers.below(data.len() + 1);
        let end = at + numbers.below(data.len() - at + 1).min(64);
        match numbers.below(5) {
            0 if at < data.len() => data[at] ^= 1 << numbers.below(8),
            1 => drop(data.drain(at..end)),
            2 => {
                let piece = data[at..end].repeat(1 + numbers.below(100));
                data.splice(at..at, piece);
            }
            3 => {
                let other = &seeds[numbers.below(seeds.len())];
                let from = numbers.below(other.len() + 1);
                data.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let word = WORDS[numbers.below(WORDS.len())].as_bytes();
                data.splice(at..at, word.iter().copied());
            }
        }
    }
    data
}

fn seeds_in(folder: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(folder);
    let files = std::fs::read_dir(corpus).unwrap();
    let mut seeds: Vec<_> =
        files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    seeds.push(b"[".repeat(20_000));
    seeds
}

#[test]
fn no_target_breaks_its_rules_or_overflows_a_small_stack() {
    let runs = std::env::var("STARTCLAW_FUZZ_RUNS").map_or(5_000, |n| n.parse().unwrap());
    let work = move || {
        for (name, seeds, target) in TARGETS {
            let seeds = seeds_in(seeds);
            let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
            seeds.iter().for_each(|seed| target(seed));
            for run in 0..runs {
                let data = mutated(&seeds, &mut numbers);
                let done = std::panic::catch_unwind(|| target(&data));
                let shown = String::from_utf8_lossy(&data[..data.len().min(2_000)]).into_owned();
                assert!(done.is_ok(), "{name}, run {run}: {shown}");
            }
        }
    };
    std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
}
