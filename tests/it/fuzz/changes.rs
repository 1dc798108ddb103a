//! Changes of inputs as fuzzers make them, but the same in every run. Knows nothing of what the inputs mean.

/// Texts that matter to some target.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b": ",
    b":",
    b"%2f",
    b"%2e",
    b"%25",
    b"%00",
    b"%",
    b"/",
    b"//",
    b"/../",
    b"/./",
    b"\\",
    b";",
    b"?",
    b"#",
    b"&",
    b"=",
    b"*",
    b"**",
    b",",
    b"\0",
    b"\x7f",
    b"\xff",
    b"\xc3\xa4",
    b"0",
    b"1",
    b"-1",
    b"chunked",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content_Length: 5\r\n",
    b"Host: b\r\n",
    b"Connection: close, X-A\r\n",
    b"X-WX-OPENID: o\r\n",
    b"x_wx.openid: o\r\n",
    b"Authorization: Bearer TOKEN\r\n",
    b"TOKEN",
    b"OTHER",
    b"token=TOKEN",
    b"wxgate.TOKEN",
    b"GET / HTTP/1.1\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.0",
    b"_",
    b"\"",
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b"<",
    b">",
    b"<![CDATA[",
    b"]]>",
    b"&amp;",
    b"[server]\n",
    b"= true\n",
    b"= \"x\"\n",
    b"secret = \"",
    b"PROXY ",
    b"65535",
];

/// Longest input.
const MAX_BYTES: usize = 4096;

/// Changes at once.
const MAX_STEPS: u64 = 6;

/// Changed inputs, without an end.
pub(super) struct Changes {
    inputs: Vec<Vec<u8>>,
    state: u64,
}

impl Changes {
    /// Of these inputs.
    pub(super) fn of(inputs: Vec<Vec<u8>>) -> Self {
        Self { inputs, state: 1 }
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
                let word = WORDS[self.draw(WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
            5 => {
                let word = WORDS[self.draw(WORDS.len())];
                input.splice(at..end, word.iter().copied());
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
