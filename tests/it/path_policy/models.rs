//! What servers that do not run here make of a path, as far as their documentation and source say it.
//! Each is written down as that server does it, step by step, and uses nothing of the gate's.

use crate::path_policy::View;

type Read = fn(&[u8]) -> Vec<View>;

/// All models, by name.
pub(super) const ALL: &[(&str, Read)] = &[
    ("Tomcat", tomcat),
    (
        "Tomcat with ALLOW_BACKSLASH and encodedSolidusHandling=decode",
        lenient_tomcat,
    ),
    (
        "Tomcat with encodedSolidusHandling=passthrough",
        passing_tomcat,
    ),
    (
        "Jetty 6, which ends the path at its first parameter",
        old_jetty,
    ),
    (
        "Spring 4: trimmed tokens, suffix patterns, trailing slash",
        spring,
    ),
    ("IIS: HTTP.sys, then the file system", iis),
    ("IIS with an application that decodes once more", iis_twice),
    ("IIS 5 with its lenient UTF-8", old_iis),
    ("Go's ServeMux since 1.22, segment by segment", go),
    ("Rails: normalized path, optional format", rails),
    (
        "a router that matches decoded segments, case aside",
        segments,
    ),
    (
        "a router over compatibility forms, with letter case by Unicode",
        compatible,
    ),
    (
        "a proxy that passes the decoded path on to Tomcat",
        proxied_tomcat,
    ),
    (
        "an application that resolves the target as a reference (WHATWG)",
        reference,
    ),
    ("PHP scripts by their PATH_INFO", path_info),
];

fn tomcat(path: &[u8]) -> Vec<View> {
    // CoyoteAdapter: parsePathParameters, then decode, then normalize. %2f and \ are 400.
    let plain = without_parameters(path);
    let decoded = decode_once(&plain);
    if contains_escape(&plain, b"2f") || decoded.contains(&b'\\') || decoded.contains(&0) {
        return Vec::new();
    }
    normalized(&decoded).map(View::read).into_iter().collect()
}

fn lenient_tomcat(path: &[u8]) -> Vec<View> {
    let decoded = decode_once(&without_parameters(path));
    let slashes = replace(&decoded, b'\\', b'/');
    normalized(&slashes).map(View::read).into_iter().collect()
}

fn passing_tomcat(path: &[u8]) -> Vec<View> {
    let decoded = decode_but(&without_parameters(path), |byte| byte == b'/');
    let slashes = replace(&decoded, b'\\', b'/');
    let mut views: Vec<_> = normalized(&decoded).map(View::read).into_iter().collect();
    views.extend(normalized(&slashes).map(View::read));
    views
}

fn old_jetty(path: &[u8]) -> Vec<View> {
    let plain = path.split(|&byte| byte == b';').next().unwrap_or_default();
    let decoded = decode_once(plain);
    normalized(&decoded).map(View::read).into_iter().collect()
}

fn spring(path: &[u8]) -> Vec<View> {
    let mut views = Vec::new();
    for view in tomcat(path) {
        // AntPathMatcher: tokenized at slashes, empty tokens dropped, tokens trimmed.
        let text = String::from_utf8_lossy(&view.path).into_owned();
        let tokens: Vec<_> = text
            .split('/')
            .map(str::trim)
            .filter(|token| !token.is_empty())
            .collect();
        let path = format!("/{}", tokens.join("/"));
        // `/exact` is mapped as `/exact.*`, too: before any of the dots.
        let from = path.rfind('/').unwrap_or_default();
        let dots = path
            .match_indices('.')
            .map(|(dot, _)| dot)
            .filter(|&dot| dot > from + 1);
        views.extend(dots.map(|dot| View::alias(&path.as_bytes()[..dot])));
        views.push(View::read(path));
        views.push(view);
    }
    views
}

fn iis(path: &[u8]) -> Vec<View> {
    on_windows(&decode_wide(path))
}

fn iis_twice(path: &[u8]) -> Vec<View> {
    on_windows(&decode_wide(&decode_wide(path)))
}

fn old_iis(path: &[u8]) -> Vec<View> {
    // Before the patch for MS00-078: overlong sequences decoded, and checked before that.
    let mut views = Vec::new();
    for decoded in [decode_wide(path), decode_wide(&decode_wide(path))] {
        let mut out = Vec::new();
        let mut rest = decoded.as_slice();
        while let [first, after @ ..] = rest {
            (out, rest) = match *rest {
                [0xc0..=0xc1, second @ 0x80..=0xbf, ref behind @ ..] => {
                    out.push((first & 1) << 6 | (second & 0x3f));
                    (out, behind)
                }
                [
                    0xe0,
                    second @ 0x80..=0x81,
                    third @ 0x80..=0xbf,
                    ref behind @ ..,
                ] => {
                    out.push((second & 1) << 6 | (third & 0x3f));
                    (out, behind)
                }
                _ => {
                    out.push(*first);
                    (out, after)
                }
            };
        }
        views.extend(on_windows(&out));
    }
    views
}

/// Backslashes, dots, then names as NTFS has them.
fn on_windows(decoded: &[u8]) -> Vec<View> {
    // HTTP.sys answers 400.
    if decoded.iter().any(u8::is_ascii_control) {
        return Vec::new();
    }
    let slashes = replace(decoded, b'\\', b'/');
    let Some(path) = normalized(&slashes) else {
        return Vec::new();
    };
    let names = each(&path, |name| {
        let stream = name.windows(2).position(|pair| pair == b":$");
        let name = match stream {
            Some(_) => name.split(|&byte| byte == b':').next().unwrap_or_default(),
            None => name,
        };
        let end = name.iter().rposition(|byte| !b". ".contains(byte));
        end.map_or(&[][..], |end| &name[..=end])
    });
    let mut views = scripts(&names);
    views.extend(scripts(&path));
    views
}

fn go(path: &[u8]) -> Vec<View> {
    // What path.Clean would change is redirected, and the client asks anew.
    let decoded = decode_once(path);
    let by_segments = each(path, |segment| segment)
        .split(|&byte| byte == b'/')
        .map(decode_once)
        .collect::<Vec<_>>();
    // A slash within a segment is no separator; it is shown as something else.
    let matched = by_segments
        .iter()
        .map(|segment| replace(segment, b'/', b'_'))
        .collect::<Vec<_>>()
        .join(&b'/');
    vec![View::read(decoded), View::read(matched)]
}

fn rails(path: &[u8]) -> Vec<View> {
    // Journey::Router::Utils.normalize_path; the format is `[^./?]+` behind the last dot.
    let mut views = Vec::new();
    for path in [path.to_vec(), decode_once(path)] {
        let mut squeezed = squeeze(&path);
        while squeezed.len() > 1 && squeezed.ends_with(b"/") {
            squeezed.pop();
        }
        let from = squeezed
            .iter()
            .rposition(|&byte| byte == b'/')
            .unwrap_or_default();
        let dot = squeezed.iter().rposition(|&byte| byte == b'.');
        if let Some(dot) = dot.filter(|&dot| dot > from + 1 && dot + 1 < squeezed.len()) {
            views.push(View::alias(&squeezed[..dot]));
        }
        views.push(View::read(squeezed));
    }
    views
}

fn segments(path: &[u8]) -> Vec<View> {
    let decoded = decode_but(path, |byte| matches!(byte, b'/' | b'\\'));
    let view = decoded.to_ascii_lowercase();
    vec![View::read(view.clone()), View::read(squeeze(&view))]
}

fn compatible(path: &[u8]) -> Vec<View> {
    // NFKC of what is written in wide forms, then `str.upper().lower()`, `equalsIgnoreCase`, `(?i)`.
    let decoded = decode_wide(&decode_once(path));
    let text = String::from_utf8_lossy(&decoded).into_owned();
    let narrow = |letter: char| match letter {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(letter) - 0xfee0).unwrap(),
        '\u{2215}' | '\u{2044}' => '/',
        '\u{2216}' => '\\',
        other => other,
    };
    let folded = |text: &str| text.to_uppercase().to_lowercase().replace('\u{307}', "");
    let narrowed: String = text.chars().map(narrow).collect();
    let mut views = Vec::new();
    for text in [folded(&text), narrowed.clone(), folded(&narrowed)] {
        views.extend(normalized(text.as_bytes()).map(View::read));
        views.push(View::read(text));
    }
    views
}

fn proxied_tomcat(path: &[u8]) -> Vec<View> {
    // `proxy_pass http://app$uri`: decoded, and a target once more.
    let Some(uri) = normalized(&decode_once(path)) else {
        return Vec::new();
    };
    let target = uri
        .split(|byte| matches!(byte, b'?' | b'#'))
        .next()
        .unwrap_or_default();
    tomcat(target)
}

fn reference(path: &[u8]) -> Vec<View> {
    // https://url.spec.whatwg.org: a backslash is a slash, two of them begin a host, dots may be encoded.
    let slashes = replace(path, b'\\', b'/');
    let path = if slashes.starts_with(b"//") {
        let rest: Vec<u8> = slashes
            .iter()
            .copied()
            .skip_while(|&byte| byte == b'/')
            .collect();
        let host = rest.iter().position(|&byte| byte == b'/');
        host.map_or(b"/".to_vec(), |end| rest[end..].to_vec())
    } else {
        slashes
    };
    let dots = each(&path, |segment| {
        match segment.to_ascii_lowercase().as_slice() {
            b"%2e" => b".",
            b"%2e%2e" | b".%2e" | b"%2e." => b"..",
            _ => segment,
        }
    });
    let resolved = resolve(&dots, true).unwrap_or_default();
    let decoded = decode_once(&resolved);
    vec![View::read(resolved), View::read(decoded)]
}

fn path_info(path: &[u8]) -> Vec<View> {
    scripts(&decode_once(path))
}

/// A decoded path as it is, and as the script or directory that it leads to.
fn scripts(path: &[u8]) -> Vec<View> {
    let mut views = vec![View::read(path)];
    let text = String::from_utf8_lossy(path).into_owned();
    let lower = text.to_ascii_lowercase();
    for extension in [".php/", ".aspx/"] {
        if let Some(at) = lower.find(extension) {
            let end = at + extension.len() - 1;
            let base = text[..end].rfind('/').unwrap_or_default();
            views.push(View::alias(&text[..end]));
            views.push(View::alias(format!("{}{}", &text[..base], &text[end..])));
        }
    }
    for index in ["/index.php", "/index.html", "/default.aspx"] {
        if lower.ends_with(index) {
            views.push(View::alias(&text[..=text.len() - index.len()]));
        }
    }
    views
}

fn without_parameters(path: &[u8]) -> Vec<u8> {
    each(path, |segment| {
        segment
            .split(|&byte| byte == b';')
            .next()
            .unwrap_or_default()
    })
}

fn each(path: &[u8], change: impl Fn(&[u8]) -> &[u8]) -> Vec<u8> {
    let segments: Vec<_> = path.split(|&byte| byte == b'/').map(change).collect();
    segments.join(&b'/')
}

fn replace(path: &[u8], from: u8, to: u8) -> Vec<u8> {
    path.iter()
        .map(|&byte| if byte == from { to } else { byte })
        .collect()
}

fn squeeze(path: &[u8]) -> Vec<u8> {
    let mut out = path.to_vec();
    out.dedup_by(|one, other| *one == b'/' && *other == b'/');
    out
}

fn contains_escape(path: &[u8], digits: &[u8]) -> bool {
    let mut escapes = path.windows(3).filter(|window| window[0] == b'%');
    escapes.any(|window| window[1..].eq_ignore_ascii_case(digits))
}

fn decode_once(path: &[u8]) -> Vec<u8> {
    decode_but(path, |_| false)
}

fn decode_but(path: &[u8], kept: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let digits = path
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|&byte| path[at] == b'%' && !kept(byte)) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(path[at]);
                at += 1;
            }
        }
    }
    out
}

/// Escapes of both kinds in one pass.
fn decode_wide(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let wide = path.get(at..at + 6).filter(|wide| wide.starts_with(b"%u"));
        let digits = wide.and_then(|wide| std::str::from_utf8(&wide[2..]).ok());
        let letter = digits
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32);
        if let Some(letter) = letter {
            // Best fit of look-alikes, as to a code page of Windows.
            let letter = match letter {
                '\u{2215}' | '\u{2044}' => '/',
                '\u{2216}' => '\\',
                '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(letter) - 0xfee0).unwrap(),
                other => other,
            };
            out.extend(letter.to_string().bytes());
            at += 6;
        } else {
            let end = (at + 3).min(path.len());
            let one = decode_once(&path[at..end]);
            let is_escape = one.len() == 1 && end - at == 3;
            out.push(if is_escape { one[0] } else { path[at] });
            at += if is_escape { 3 } else { 1 };
        }
    }
    out
}

/// Slashes merged and dots resolved; `None` for what climbs above the root.
fn normalized(path: &[u8]) -> Option<Vec<u8>> {
    resolve(&squeeze(path), false)
}

fn resolve(path: &[u8], stays_at_root: bool) -> Option<Vec<u8>> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b"." => {}
            b".." => {
                if kept.pop().is_none() && !stays_at_root {
                    return None;
                }
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            kept.push(b"");
        }
    }
    Some([b"/", kept.join(&b'/').as_slice()].concat())
}

#[test]
fn the_models_read_as_their_servers_do() {
    let read = |model: Read, path: &str| {
        let views = model(path.as_bytes()).into_iter();
        views
            .map(|view| String::from_utf8(view.path).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(read(tomcat, "/a;x/..;/b%41//c/"), ["/bA/c/"]);
    assert_eq!(read(tomcat, "/a%2fb"), [""; 0]);
    assert_eq!(read(tomcat, "/a%3bb"), ["/a;b"]);
    assert_eq!(read(tomcat, "/../a"), [""; 0]);
    assert_eq!(read(lenient_tomcat, "/a%2f..%5cb"), ["/b"]);
    assert_eq!(read(old_jetty, "/a;b/c"), ["/a"]);
    assert!(read(spring, "/ a.b.c").contains(&"/a".to_owned()));
    assert!(read(iis, "/x/..%5c%u0061. /b::$DATA").contains(&"/a/b".to_owned()));
    assert!(read(old_iis, "/x%c0%af..%c1%9cb").contains(&"/b".to_owned()));
    assert!(read(go, "/a%2fb/%63").contains(&"/a_b/c".to_owned()));
    assert_eq!(read(rails, "/a.json/")[0], "/a");
    assert!(read(compatible, "/%ef%bd%81%e2%84%aa").contains(&"/ak".to_owned()));
    assert_eq!(read(proxied_tomcat, "/a%3fb"), ["/a"]);
    assert_eq!(read(reference, "/\\h/%2e%2e/b/.%2e")[0], "/");
    assert!(read(path_info, "/s/index.php/a").contains(&"/s/a".to_owned()));
}
