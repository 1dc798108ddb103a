//! What the gate answers itself: its form, its fields, and the paths of the app server that it keeps.

use super::*;

#[test]
fn the_form_of_answers_is_one_of_a_few() {
    check(
        "[errors]\nlanguage = \"cn\"",
        "2: errors.language: is \"cn\", expected one of \"auto\", \"en\", \"zh\"",
    );
    check(
        "[errors]\nenvelope = true",
        "2: errors.envelope: is true, expected one of \"problem\", \"code-msg-data\"",
    );
    let errors = shortest_with("[errors]\nlanguage = \"zh\"\nenvelope = \"code-msg-data\"");
    let errors = errors.gateway.errors;
    assert_eq!(errors.language, Some(gateway::Language::Chinese));
    assert_eq!(errors.envelope, gateway::Envelope::CodeMsgData);
}

#[test]
fn a_name_is_of_one_field_only() {
    for (names, expected) in [
        (
            "code = [\"code\"]",
            "code[0]: is \"code\", which is a name of code already, expected another one",
        ),
        (
            "code = [\"iv\"]",
            "code[0]: is \"iv\", which is a name of iv already, expected another one",
        ),
        (
            "code = [\"a\", \"a\"]",
            "code[1]: is \"a\", which is a name of code already, expected another one",
        ),
        (
            "code = [\"a\"], iv = [\"b\", \"a\"]",
            "iv[1]: is \"a\", which is a name of code already, expected another one",
        ),
        (
            "iv = [\"\"]",
            "iv[0]: is empty, expected the name of a field",
        ),
        ("iv = \"b\"", "iv: is text, expected a list of texts"),
        (
            "rawdata = [\"b\"]",
            "rawdata: unknown key, the nearest known one is compat.field_names.rawData",
        ),
    ] {
        check(
            &format!("[compat]\nfield_names = {{ {names} }}"),
            &format!("2: compat.field_names.{expected}"),
        );
    }
    check(
        "[compat]\nfield_names = []",
        "2: compat.field_names: is a list, expected a table",
    );
    let names =
        shortest_with("[compat]\nfield_names = { code = [\"js_code\"], appid = [\"app_id\"] }");
    let names = names.gateway.field_names;
    assert_eq!(names.find("js_code"), Some(gateway::Field::Code));
    assert_eq!(names.find("app_id"), Some(gateway::Field::Appid));
    assert_eq!(names.find("JS_CODE"), None);
}

#[test]
fn a_path_that_belongs_to_the_gate_is_one_plain_path() {
    const EXPECTED: &str =
        "expected a path on the app server such as \"/hooks/login\", or \"\" for off";
    for (lines, expected) in [
        (
            "[login]\nhook = \"hooks\"",
            format!("2: login.hook: is \"hooks\": a path begins with /, {EXPECTED}"),
        ),
        (
            "[login]\nhook = \"/hooks/**\"",
            format!("2: login.hook: is \"/hooks/**\": stands for more than one path, {EXPECTED}"),
        ),
        (
            "[decrypt]\ndeliver = \"upstream\"\ndeliver_to = \"/wx/Decrypt/\"",
            "3: decrypt.deliver_to: differs from the gate's own route /wx/decrypt in letter case or \
             a slash at the end alone, expected the same path or another one"
                .to_owned(),
        ),
        (
            "[phone]\ndeliver = \"upstream\"\ndeliver_to = \"/wx/login/\"",
            "3: phone.deliver_to: differs from the gate's own route /wx/login in letter case or a \
             slash at the end alone, expected the same path or another one"
                .to_owned(),
        ),
        (
            "[login]\nhook = \"/a/b\"\n[decrypt]\ndeliver = \"upstream\"\ndeliver_to = \"/A/b/\"",
            "5: decrypt.deliver_to: is \"/A/b/\": the same path as login.hook, expected another one \
             (letter case and a slash at the end make no difference): the app server could not tell \
             the two apart"
                .to_owned(),
        ),
        (
            "[login]\nhook = \"/wx/decrypt\"",
            "2: login.hook: is \"/wx/decrypt\": where the app server may get what the gate \
             obtained, expected another path"
                .to_owned(),
        ),
        (
            "[decrypt]\ndeliver = \"server\"",
            "2: decrypt.deliver: is \"server\", expected one of \"client\", \"upstream\"".to_owned(),
        ),
        (
            "[decrypt]\nin_flight = [\"/a*\"]",
            "2: decrypt.in_flight[0]: is \"/a*\": * stands for one whole segment, ** for a whole \
             subtree at the end, expected a path such as \"/a\", \"/a/**\" or \"/a/*/b\""
                .to_owned(),
        ),
    ] {
        check(lines, &expected);
    }
}
