//! Headers good and bad, byte by byte.

use tokio::io::AsyncWriteExt;

use super::*;

/// What is made of these bytes, and what is left of them.
async fn read_of(bytes: &[u8]) -> (Result<Told, HeaderError>, Vec<u8>) {
    let (mut client, mut socket) = tokio::io::duplex(8192);
    client.write_all(bytes).await.unwrap();
    drop(client);
    let told = read(&mut socket, Duration::from_secs(10)).await;
    let mut left = Vec::new();
    socket.read_to_end(&mut left).await.unwrap();
    (told, left)
}

fn v2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let prefix = [version_and_command, family, length[0], length[1]];
    [&V2_SIGNATURE[..], &prefix, rest].concat()
}

fn client(from: &str, local_port: u16) -> Told {
    Told::Client {
        from: from.parse().unwrap(),
        local_port,
    }
}

#[tokio::test]
async fn what_is_no_header_of_version_1_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 x\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 +443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 -1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 \r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.02.1 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 localhost 56324 443\r\n",
        "PROXY TCP4 2001:db8::1 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 2001:db8::1 56324 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 56324 443\r\n",
        "PROXY TCP6 [2001:db8::1] 2001:db8::2 56324 443\r\n",
        "PROXY TCP6 fe80::1%eth0 2001:db8::2 56324 443\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.1 56324 443\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.1 56324 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP4\t192.0.2.1 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n\r\n",
        "PROXY TCP4 192.0.2.1\r 198.51.100.1 56324 443\r\n",
        "PROXY \r\nUNKNOWN\r\n",
        "PROXY           \r\n",
    ] {
        let (told, _) = read_of(line.as_bytes()).await;
        assert!(
            matches!(told, Err(HeaderError::Malformed)),
            "{line:?} {told:?}"
        );
    }
    let (told, _) = read_of(long.as_bytes()).await;
    assert!(matches!(told, Err(HeaderError::TooLong)), "{told:?}");
    let (told, _) = read_of(b"PROXY UNKNOWN \xff\r\n").await;
    assert!(matches!(told, Err(HeaderError::Malformed)), "{told:?}");
}

#[tokio::test]
async fn what_is_no_header_of_version_2_is_refused() {
    for (version_and_command, family, length) in [
        (0x11, 0x11, 12),
        (0x31, 0x11, 12),
        (0x01, 0x11, 12),
        (0x22, 0x11, 12),
        (0x2f, 0x11, 12),
        (0x10, 0x00, 0),
        (0x21, 0x10, 12),
        (0x21, 0x13, 12),
        (0x21, 0x01, 12),
        (0x21, 0x41, 216),
        (0x21, 0xff, 216),
        (0x21, 0x11, 11),
        (0x21, 0x11, 0),
        (0x21, 0x21, 35),
        (0x21, 0x31, 215),
    ] {
        let bytes = v2(version_and_command, family, &vec![1; length]);
        let (told, _) = read_of(&bytes).await;
        assert!(
            matches!(told, Err(HeaderError::Malformed)),
            "{bytes:?} {told:?}"
        );
    }
    for length in [4097, 65_535] {
        let (told, _) = read_of(&v2(0x20, 0x00, &vec![1; length])[..1000]).await;
        assert!(matches!(told, Err(HeaderError::TooLong)), "{told:?}");
    }
}

#[tokio::test]
async fn anything_else_is_no_header_at_all() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"proxy TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
        b"PROXY\tTCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
        b" PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\r\x21\x11\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0",
    ] {
        let (told, _) = read_of(bytes).await;
        assert!(
            matches!(told, Err(HeaderError::Missing)),
            "{bytes:?} {told:?}"
        );
    }
    for header in [v2(0x21, 0x11, &[1; 12]), b"PROXY UNKNOWN\r\n".to_vec()] {
        for length in 0..header.len() {
            let (told, _) = read_of(&header[..length]).await;
            assert!(
                matches!(told, Err(HeaderError::Gone(_))),
                "{length} {told:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_does_not_come_is_not_waited_for() {
    for begun in [
        &b""[..],
        b"PROXY TCP4 192",
        &V2_SIGNATURE,
        &v2(0x21, 0x11, &[1; 12])[..20],
    ] {
        let (mut client, mut socket) = tokio::io::duplex(64);
        client.write_all(begun).await.unwrap();
        let told = read(&mut socket, Duration::from_secs(10)).await;
        assert!(matches!(told, Err(HeaderError::TimedOut)), "{told:?}");
    }
}

#[tokio::test]
async fn a_header_tells_the_client_and_nothing_after_it_is_lost() {
    let mut v4 = vec![192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];
    let longer = [&v4[..], &[4, 0, 1, 0]].concat();
    let mut v6 = [0x20, 1, 0xd, 0xb8].to_vec();
    v6.resize(15, 0);
    v6.push(7);
    v6.extend([9; 16]);
    v6.extend([0, 1, 0x10, 0x54]);
    let mapped = [&[0; 10][..], &[255, 255, 192, 0, 2, 1], &v6[16..]].concat();
    let unix = vec![b'/'; 216];
    let v1 = |line: &str| format!("{line}\r\n").into_bytes();
    let widest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    for (header, told) in [
        (
            v1("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443"),
            client("192.0.2.1", 443),
        ),
        (
            v1("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535"),
            client("0.0.0.0", 65_535),
        ),
        (
            v1("PROXY TCP6 2001:db8::7 ::1 1 4180"),
            client("2001:db8::7", 4180),
        ),
        (
            v1(&format!("PROXY TCP6 {widest} {widest} 65535 65535")),
            client(widest, 65_535),
        ),
        (v1("PROXY UNKNOWN"), Told::Nothing),
        (
            v1(&format!("PROXY UNKNOWN {widest} {widest} 65535 65535")),
            Told::Nothing,
        ),
        (v2(0x21, 0x11, &v4), client("192.0.2.1", 443)),
        (v2(0x21, 0x12, &v4), client("192.0.2.1", 443)),
        (v2(0x21, 0x11, &longer), client("192.0.2.1", 443)),
        (v2(0x21, 0x21, &v6), client("2001:db8::7", 4180)),
        (v2(0x21, 0x21, &mapped), client("::ffff:192.0.2.1", 4180)),
        (v2(0x21, 0x31, &unix), Told::Nothing),
        (v2(0x21, 0x00, &[]), Told::Nothing),
        (v2(0x20, 0x00, &[]), Told::Nothing),
        (v2(0x20, 0x11, &v4), Told::Nothing),
        (v2(0x20, 0xff, &[1; 4096]), Told::Nothing),
    ] {
        for after in [&b""[..], b"GET / HTTP/1.1\r\n\r\n"] {
            let (read, left) = read_of(&[&header[..], after].concat()).await;
            assert_eq!(read.unwrap(), told, "{header:?}");
            assert_eq!(left, after, "{header:?}");
        }
    }
    v4.truncate(11);
    assert!(read_of(&v2(0x21, 0x11, &v4)).await.0.is_err());
}
