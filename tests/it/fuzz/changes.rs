//! Changes of inputs as fuzzers make them, but the same in every run. Knows nothing of what the inputs mean.

/// Texts that matter to some target, as libFuzzer takes them.
const WORDS: &str = include_str!("../../fuzz/words.dict");

/// Longest input.
const MAX_BYTES: usize = 4096;

/// Changes at once.
const MAX_STEPS: u64 = 6;

/// Changed inputs, without an end.
pub(super) struct Changes {
    inputs: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    state: u64,
}

impl Changes {
    /// Of these inputs.
    pub(super) fn of(inputs: Vec<Vec<u8>>) -> Self {
        let quoted = WORDS
            .lines()
            .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
        Self {
            inputs,
            words: quoted.map(unquoted).collect(),
            state: 1,
        }
    }

    /// SplitMix64.
    fn draw(&mut self, below: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.state;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^= drawn >> 31;
        usize::try_from(drawn % u64::try_from(below.max(1)).unwrap()).unwrap()
    }

    /// One of the inputs, changed.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let chosen = self.draw(self.inputs.len());
        let mut input = self.inputs[chosen].clone();
        for _ in 0..=self.state % MAX_STEPS {
            self.change(&mut input);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn word(&mut self) -> Vec<u8> {
        let chosen = self.draw(self.words.len());
        self.words[chosen].clone()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.draw(input.len() + 1);
        let end = (at + self.draw(16)).min(input.len());
        match self.draw(7) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << (self.state % 8);
                }
            }
            1 => drop(input.drain(at..end)),
            2 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part);
            }
            3 | 4 => {
                let word = self.word();
                input.splice(at..at, word);
            }
            5 => {
                let word = self.word();
                input.splice(at..end, word);
            }
            _ => {
                let other = self.draw(self.inputs.len());
                let from = self.draw(self.inputs[other].len() + 1);
                let rest = self.inputs[other][from..].to_vec();
                input.splice(at.., rest);
            }
        }
    }
}

/// A word without its escapes: `\xNN` for a byte, or a backslash before one that stands for itself.
fn unquoted(quoted: &str) -> Vec<u8> {
    let (mut word, mut rest) = (Vec::new(), quoted.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digits = [*high, *low].map(|digit| char::from(digit).to_digit(16).unwrap());
                word.push(u8::try_from(digits[0] * 16 + digits[1]).unwrap());
                rest = after;
            }
            (b'\\', [escaped, after @ ..]) => {
                word.push(*escaped);
                rest = after;
            }
            _ => word.push(first),
        }
    }
    word
}
