//! HPACK as a whole: the examples of RFC 7541 appendix C, everything that is malformed, and that what
//! is written is read again, here and by another library.

use http::StatusCode;
use proptest::prelude::*;

use super::*;

const LARGE: BlockLimits = BlockLimits {
    bytes: 1 << 20,
    fields: 1 << 16,
};

type Fields = Vec<(String, String)>;

fn fields(block: &Block) -> Fields {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = block.fields.iter();
    fields
        .map(|field| {
            (
                text(field.name(&block.lines)),
                text(field.value(&block.lines)),
            )
        })
        .collect()
}

fn decode(decoder: &mut Decoder, input: &[u8]) -> Result<Fields, HpackFault> {
    let mut block = Block::default();
    decoder.decode(input, &mut block, LARGE)?;
    let lines = fields(&block);
    let lines: Vec<_> = lines
        .iter()
        .map(|(name, value)| [name, ": ", value, "\r\n"].concat())
        .collect();
    assert_eq!(lines.concat().as_bytes(), block.lines);
    Ok(fields(&block))
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let byte = |two: &[u32]| u8::try_from(two[0] * 16 + two[1]).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn owned(fields: &[(&str, &str)]) -> Fields {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    fields.iter().map(owned).collect()
}

#[test]
fn the_single_fields_of_appendix_c_2_are_read() {
    for (input, field, size) in [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            ("custom-key", "custom-header"),
            55,
        ),
        (
            "040c 2f73 616d 706c 652f 7061 7468",
            (":path", "/sample/path"),
            0,
        ),
        (
            "1008 7061 7373 776f 7264 0673 6563 7265 74",
            ("password", "secret"),
            0,
        ),
        ("82", (":method", "GET"), 0),
    ] {
        let mut decoder = Decoder::default();
        assert_eq!(decode(&mut decoder, &hex(input)), Ok(owned(&[field])));
        assert_eq!(decoder.table().size(), size);
    }
}

/// The requests of C.3, and the size of the table after each.
const REQUESTS: [(&[(&str, &str)], usize); 3] = [
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
        ],
        57,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
            ("cache-control", "no-cache"),
        ],
        110,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ],
        164,
    ),
];

#[test]
fn the_requests_of_appendix_c_3_and_c_4_are_read() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let huffman = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for inputs in [plain, huffman] {
        let mut decoder = Decoder::default();
        for (input, (expected, size)) in inputs.iter().zip(REQUESTS) {
            assert_eq!(decode(&mut decoder, &hex(input)), Ok(owned(expected)));
            assert_eq!(decoder.table().size(), size);
        }
    }
}

#[test]
fn the_answers_of_appendix_c_5_and_c_6_are_read_and_evict_what_does_not_fit() {
    let date = "Mon, 21 Oct 2013 20:13:21 GMT";
    let location = ("location", "https://www.example.com");
    let first = [
        (":status", "302"),
        ("cache-control", "private"),
        ("date", date),
        location,
    ];
    let second = [
        (":status", "307"),
        ("cache-control", "private"),
        ("date", date),
        location,
    ];
    let cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let third = [
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        location,
        ("content-encoding", "gzip"),
        ("set-cookie", cookie),
    ];
    let expected = [(&first[..], 222), (&second[..], 222), (&third[..], 215)];
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 \
         2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 \
         6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d \
         54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 \
         5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e \
         3d31",
    ];
    let huffman = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
         2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab \
         77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f \
         9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    for inputs in [plain, huffman] {
        let mut decoder = Decoder::default();
        // The examples are of a table of 256 bytes.
        assert_eq!(decode(&mut decoder, &[0x3f, 0xe1, 0x01]), Ok(vec![]));
        for (input, (expected, size)) in inputs.iter().zip(expected) {
            assert_eq!(decode(&mut decoder, &hex(input)), Ok(owned(expected)));
            assert_eq!(decoder.table().size(), size);
        }
    }
}

#[test]
fn what_is_malformed_is_a_fault_each_of_its_kind() {
    for (input, fault) in [
        (&[0x80][..], HpackFault::Index),
        (&[0x80 + 62], HpackFault::Index),
        (&[0xff, 0x80, 0x01], HpackFault::Index),
        (&[0x40 + 62, 1, b'a'], HpackFault::Index),
        (&[0x0f, 47, 1, b'a'], HpackFault::Index),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], HpackFault::Number),
        (&[0xff, 0x80, 0x80, 0x80, 0x80, 0x00], HpackFault::Number),
        (&[0xff], HpackFault::Truncated),
        (&[0x00], HpackFault::Truncated),
        (&[0x00, 5, b'a'], HpackFault::Truncated),
        (&[0x00, 1, b'a'], HpackFault::Truncated),
        (&[0x00, 1, b'a', 0x7f, 0xff], HpackFault::Truncated),
        (&[0x00, 1, b'a', 0x81, 0xff], HpackFault::Huffman),
        (&[0x00, 1, b'a', 0x81, 0x08], HpackFault::Huffman),
        (&[0x00, 1, b'a', 0x82, 0x0f, 0xff], HpackFault::Huffman),
        (
            &[0x00, 1, b'a', 0x84, 0xff, 0xff, 0xff, 0xff],
            HpackFault::Huffman,
        ),
        (&[0x3f, 0xe2, 0x1f], HpackFault::Resize),
        (&[0x82, 0x20], HpackFault::Resize),
    ] {
        assert_eq!(
            decode(&mut Decoder::default(), input),
            Err(fault),
            "{input:x?}"
        );
    }
}

#[test]
fn a_table_that_is_resized_forgets_and_fills_again() {
    let mut decoder = Decoder::default();
    decode(&mut decoder, b"\x40\x01a\x011").unwrap();
    assert_eq!(decode(&mut decoder, &[0xbe]), Ok(owned(&[("a", "1")])));
    assert_eq!(decode(&mut decoder, &[0x20, 0x3f, 0xe1, 0x1f]), Ok(vec![]));
    assert_eq!(decode(&mut decoder, &[0xbe]), Err(HpackFault::Index));
    decode(&mut decoder, b"\x40\x01b\x012").unwrap();
    assert_eq!(decode(&mut decoder, &[0xbe]), Ok(owned(&[("b", "2")])));
}

#[test]
fn white_space_around_a_value_is_taken_away_and_counts_in_the_table() {
    let mut decoder = Decoder::default();
    let read = decode(&mut decoder, b"\x40\x01a\x05 \t1\t \xbe\x00\x01b\x02  ");
    assert_eq!(read, Ok(owned(&[("a", "1"), ("a", "1"), ("b", "")])));
    assert_eq!(decoder.table().size(), 32 + 6);
}

#[test]
fn a_few_bytes_that_stand_for_a_whole_table_end_the_connection() {
    let limits = BlockLimits {
        bytes: 4096,
        fields: 100,
    };
    let mut decoder = Decoder::default();
    let mut block = Block::default();
    let name = [&[0x40, 0x7f, 0xb9, 0x16][..], &[b'a'; 3000], &[0]].concat();
    decoder.decode(&name, &mut block, limits).unwrap();
    assert!(!block.is_too_large);
    block.clear();
    // The name from the table, and an empty value.
    let repeated = [0x0f, 0x2f, 0].repeat(5000);
    let read = decoder.decode(&repeated, &mut block, limits);
    assert_eq!(read, Err(HpackFault::TooMuch));
}

#[test]
fn more_than_allowed_is_left_out_and_what_comes_later_is_read_all_the_same() {
    let limits = BlockLimits {
        bytes: 100,
        fields: 3,
    };
    let mut decoder = Decoder::default();
    let mut block = Block::default();
    let large = [&b"\x40\x01a\x7f\x01"[..], &[b'x'; 128]].concat();
    decoder.decode(&large, &mut block, limits).unwrap();
    assert!(block.is_too_large && block.fields.is_empty() && block.lines.is_empty());
    // One byte each, and no more memory than was allowed.
    block.clear();
    decoder.decode(&[0xbe; 10_000], &mut block, limits).unwrap();
    assert!(block.is_too_large && block.lines.capacity() < 10_000);
    block.clear();
    decoder.decode(&[0x82; 10], &mut block, limits).unwrap();
    assert!(block.is_too_large && block.fields.len() == 3);
    assert_eq!(decode(&mut decoder, &[0xbe]).unwrap()[0].1.len(), 128);
}

#[test]
fn fields_are_told_by_their_kind_from_wherever_they_come() {
    let mut decoder = Decoder::default();
    let mut block = Block::default();
    let input = b"\x82\x40\x01a\x011\x40\x01B\x011\x40\x02te\x01x\xc0\xbf\xbe";
    decoder.decode(input, &mut block, LARGE).unwrap();
    let kinds: Vec<_> = block.fields.iter().map(|field| field.kind).collect();
    let once = [Kind::Plain, Kind::Illegal, Kind::Special];
    assert_eq!(kinds, [&[Kind::Pseudo][..], &once, &once].concat());
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        written in prop::collection::vec(("[a-z-]{1,30}", "[!-~]{0,300}"), 0..20),
        status in 100_u16..1000,
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let mut out = Vec::new();
        write_status(&mut out, status);
        for (name, value) in &written {
            write_field(&mut out, name.to_ascii_uppercase().as_bytes(), value.as_bytes());
        }
        let mut expected = vec![(":status".to_owned(), status.as_str().to_owned())];
        expected.extend(written);
        prop_assert_eq!(decode(&mut Decoder::default(), &out), Ok(expected));
    }

    #[test]
    fn anything_is_read_or_refused_within_bounds(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20),
    ) {
        let limits = BlockLimits { bytes: 1000, fields: 20 };
        let mut decoder = Decoder::default();
        let mut block = Block::default();
        for input in blocks {
            block.clear();
            let read = decoder.decode(&input, &mut block, limits);
            prop_assert!(decoder.table().size() <= TABLE_BYTES);
            prop_assert!(decoder.table().memory() <= 2 * TABLE_BYTES);
            if read.is_err() {
                break;
            }
            prop_assert!(block.lines.len() <= limits.bytes && block.fields.len() <= limits.fields);
        }
    }
}
