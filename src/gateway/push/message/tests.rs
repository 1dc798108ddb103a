//! Messages as WeChat writes them, and as nobody should.

use proptest::prelude::*;

use super::*;

fn fields(text: &str) -> Fields {
    read(text).unwrap().1
}

#[track_caller]
fn refused(text: &str, why: Unreadable) {
    assert_eq!(read(text).unwrap_err(), why, "{text:.200}");
}

#[test]
fn a_document_type_is_refused_whatever_it_defines() {
    let lol = (1..10).fold(String::from("<!ENTITY l0 \"lol\">"), |text, n| {
        let inner = format!("&l{};", n - 1).repeat(10);
        format!("{text}<!ENTITY l{n} \"{inner}\">")
    });
    for text in [
        format!("<!DOCTYPE xml [{lol}]><xml><MsgType>&l9;</MsgType></xml>"),
        "<?xml version=\"1.0\"?><!DOCTYPE xml [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>\
             <xml><MsgType>&x;</MsgType></xml>"
            .to_owned(),
        "<!DOCTYPE xml SYSTEM \"http://evil.example/x.dtd\"><xml/>".to_owned(),
        "<!doctype xml><xml/>".to_owned(),
        "<xml/><!DOCTYPE xml>".to_owned(),
        "<xml><!DOCTYPE xml></xml>".to_owned(),
    ] {
        refused(&text, Unreadable::DocumentType);
    }
}

#[test]
fn an_entity_that_xml_does_not_know_is_refused_anywhere() {
    for entity in [
        "&x;",
        "&nbsp;",
        "&LT;",
        "&#0;",
        "&#xD800;",
        "&#x110000;",
        "&#99999999999;",
    ] {
        refused(
            &format!("<xml><MsgType>{entity}</MsgType></xml>"),
            Unreadable::Entity,
        );
        refused(
            &format!("<xml><Other>{entity}</Other></xml>"),
            Unreadable::Entity,
        );
    }
}

#[test]
fn deep_wide_and_endless_xml_is_refused() {
    refused(&"<xml>".repeat(100_000), Unreadable::TooLarge);
    let deep = format!("<xml>{}{}</xml>", "<a>".repeat(16), "</a>".repeat(16));
    refused(&deep, Unreadable::TooLarge);
    let deepest = format!("<xml>{}{}</xml>", "<a>".repeat(15), "</a>".repeat(15));
    assert!(read(&deepest).is_ok());
    refused(
        &format!("<xml>{}</xml>", "<a/>".repeat(4096)),
        Unreadable::TooLarge,
    );
    assert!(read(&format!("<xml>{}</xml>", "<a/>".repeat(4095))).is_ok());
}

#[test]
fn what_is_no_message_is_refused() {
    for text in [
        "<xml>",
        "<xml></yml>",
        "<yml/>",
        "<xml/><xml/>",
        "<xml/>text",
        "<xml/>&amp;",
        "<xml/><![CDATA[ ]]>",
        "<xml><?php echo 1 ?></xml>",
        "<xml><?xml version=\"1.0\"?></xml>",
        "<!-- c --><?xml version=\"1.0\"?><xml/>",
        "<xml><MsgType>a</MsgType><MsgType>b</MsgType></xml>",
        "<xml><MsgType/><MsgType>b</MsgType></xml>",
        "<xml><MsgType><![CDATA[a</MsgType></xml>",
        "<xml><MsgType>a",
        "</xml>",
        "<",
        "<xml><!-- -- --></xml>",
        "<xml>a & b</xml>",
    ] {
        refused(text, Unreadable::Xml);
    }
    for text in ["", " ", "[]", "\"x\"", "text", "\u{feff}{}", "null"] {
        refused(text, Unreadable::Format);
    }
    for text in [
        "{",
        "{}{}",
        r#"{"CreateTime":1,"CreateTime":2}"#,
        r#"{"CreateTime":}"#,
    ] {
        refused(text, Unreadable::Json);
    }
    refused(
        &format!(r#"{{"a":{}"#, "[".repeat(200_000)),
        Unreadable::Json,
    );
    refused(
        &format!(r#"{{"CreateTime":{}"#, "[".repeat(200_000)),
        Unreadable::Json,
    );
}

#[test]
fn a_message_says_the_same_in_either_format() {
    let json = r#"{"ToUserName":"gh_1","FromUserName":"oUser","CreateTime":23637352235060880,
            "MsgType":"event_debug","debug_str":"你好 & <b>","List":[{"CreateTime":1}]}"#;
    let xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<xml>\n\
            <ToUserName><![CDATA[gh_1]]></ToUserName>\n<!-- who -->\
            <FromUserName>\n <![CDATA[oUser]]>\n</FromUserName>\
            <CreateTime>23637352235060880</CreateTime>\
            <MsgType>ev&#x65;nt<![CDATA[_]]>de<![CDATA[bug]]></MsgType>\
            <debug_str>&lt;b&gt;</debug_str>\
            <List a=\"&amp;\"><item><CreateTime>1</CreateTime></item></List></xml>\n";
    assert_eq!(read(json).unwrap().0, Format::Json);
    assert_eq!(read(xml).unwrap().0, Format::Xml);
    let expected = [
        ("oUser", fields(json).from_user_name),
        // Beyond 2^53: a number with a fraction could not hold it.
        ("23637352235060880", fields(json).create_time),
        ("event_debug", fields(json).msg_type),
    ];
    for (text, field) in expected {
        assert_eq!(field.as_deref(), Some(text));
    }
    assert!(fields(json) == fields(xml));
}

#[test]
fn the_five_names_and_numbers_of_characters_are_read() {
    let read = fields("<xml><Encrypt>&lt;&gt;&amp;&apos;&quot;&#65;&#x4f60;</Encrypt></xml>");
    assert_eq!(read.encrypt.as_deref(), Some("<>&'\"A你"));
    let read = fields("<xml><Encrypt><![CDATA[&lt;<a>]]></Encrypt></xml>");
    assert_eq!(read.encrypt.as_deref(), Some("&lt;<a>"));
}

#[test]
fn a_field_that_is_no_text_is_missing() {
    for value in ["null", "true", "1.5", "[1]", r#"{"a":1}"#, "1e400"] {
        let text = format!(r#"{{"CreateTime":{value}}}"#);
        assert!(
            read(&text).is_err() || fields(&text).create_time.is_none(),
            "{value}"
        );
    }
    assert_eq!(
        fields("<xml><CreateTime>1<a/>2</CreateTime></xml>").create_time,
        None
    );
    assert_eq!(
        fields("<xml><a><CreateTime>1</CreateTime></a></xml>").create_time,
        None
    );
    assert_eq!(
        fields("<xml><CreateTime/></xml>").create_time.as_deref(),
        Some("")
    );
}

proptest! {
    #[test]
    fn any_text_of_a_field_is_read_as_it_was_written(text in "[^\\p{Cc}]{0,60}") {
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let xml = format!("<xml><MsgType>{escaped}</MsgType></xml>");
        prop_assert_eq!(fields(&xml).msg_type.unwrap(), text.trim_ascii());
        let json = serde_json::json!({ "MsgType": text }).to_string();
        prop_assert_eq!(fields(&json).msg_type.unwrap(), text);
    }

    #[test]
    fn no_text_makes_reading_panic(text in any::<String>(), soup in "[<>/&;!?#xa\\[\\]\\- \"=]{0,60}") {
        drop(read(&text));
        drop(read(&format!("<xml>{text}</xml>")));
        drop(read(&format!("<xml><Encrypt>{soup}</Encrypt></xml>")));
        drop(read(&soup));
    }
}
