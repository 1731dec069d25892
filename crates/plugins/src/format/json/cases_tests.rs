//! The cases of RFC 8259, by the kinds of `JSONTestSuite` and written anew: what is JSON is taken, what is
//! none is refused with a reason, and what the RFC leaves to each program stands in a table. Each is read by
//! every way there is: fields alone, by their paths, as rows of a list, and passed over.

use std::fmt::Write as _;

use arrow_array::BinaryArray;
use serde_json::json;

use super::super::testing::{batch, decode, encode, input, values};
use super::*;

/// Values that are JSON.
const TAKEN: &[&str] = &[
    "[]",
    "[[]   ]",
    "[\"\"]",
    "[false]",
    "[null]",
    "[1\n]",
    " [1]",
    "[2] ",
    "[1,null,null,null,2]",
    "[true, \r\n\t[ ]]",
    "[123e65]",
    "[0e+1]",
    "[0e1]",
    "[ 4]",
    "[-0.000000000000000000000000000000000000000000000000000000000000000000000001]",
    "20e1",
    "-0",
    "-123",
    "-1",
    "1E22",
    "1E-2",
    "1E+2",
    "123e45",
    "123.456e78",
    "1e-2",
    "1e+2",
    "123.456789",
    "42",
    "-0.1",
    "{\"asd\":\"sdf\",\"dfg\":\"fgh\"}",
    "{\"a\":\"b\",\"a\":\"c\"}",
    "{}",
    "{\"\":0}",
    "{\"foo\\u0000bar\": 42}",
    "{ \"min\": -1.0e+28, \"max\": 1.0e+28 }",
    "{\"a\":[]}",
    "{\n\"a\" :\t1 }",
    "\"\"",
    "\"\\u0060\\u012a\\u12AB\"",
    "\"\\uD801\\udc37\"",
    "\"\\ud83d\\ude39\\ud83d\\udc8d\"",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    "\"\\\\u0000\"",
    "\"\\\"\"",
    "\"a/*b*/c/*d//e\"",
    "\"\\\\a\"",
    "\"\\u0012\"",
    "\"\\uFFFF\"",
    "\"\\uDBFF\\uDFFF\"",
    "\"\\u0000\"",
    "\"\\u002c\"",
    "\"\u{7f}\"",
    "\"\u{3c0}\"",
    "\"\u{1bfff}\"",
    "\"asd \"",
    "\"\u{2028}\u{2029}\"",
    "\"\\u200B\\u2064\"",
    "\"\\uFDD0\\uFFFE\"",
    "\"\u{feff}\"",
    "true",
    "false",
    "null",
];

/// What is none.
const REFUSED: &[&str] = &[
    "",
    " ",
    "[1 true]",
    "[\"\": 1]",
    "[\"\"],",
    "[,1]",
    "[1,,2]",
    "[\"x\",,]",
    "[\"x\"]]",
    "[\"\",]",
    "[\"x\"",
    "[x",
    "[3[4]]",
    "[1:2]",
    "[,]",
    "[-]",
    "[   , \"\"]",
    "[\"a\",\n4\n,1,",
    "[1,]",
    "[1,,]",
    "[\"\u{b}a\"\\f]",
    "[*]",
    "[\"\"",
    "[1,",
    "[1,\n1\n,1",
    "[{}",
    "[fals]",
    "[nul]",
    "[tru]",
    "[++1234]",
    "[+1]",
    "[+Inf]",
    "[-01]",
    "[-1.0.]",
    "[-2.]",
    "[-NaN]",
    "[.-1]",
    "[.2e-3]",
    "[0.1.2]",
    "[0.3e+]",
    "[0.3e]",
    "[0.e1]",
    "[0E+]",
    "[0E]",
    "[0e+]",
    "[0e]",
    "[1.0e+]",
    "[1.0e-]",
    "[1.0e]",
    "[1 000.0]",
    "[1eE2]",
    "[2.e+3]",
    "[2.e-3]",
    "[2.e3]",
    "[9.e+]",
    "[Inf]",
    "[NaN]",
    "[\u{ff11}]",
    "[1+2]",
    "[0x1]",
    "[0x42]",
    "[Infinity]",
    "[0e+-1]",
    "[-123.123foo]",
    "[-Infinity]",
    "[-foo]",
    "[- 1]",
    "[-012]",
    "[-.123]",
    "[-1x]",
    "[1ea]",
    "[1.]",
    "[.123]",
    "[1.2a-3]",
    "[1.8011670033376514H-308]",
    "[012]",
    "[\"x\", truth]",
    "{[: \"x\"}",
    "{\"x\", null}",
    "{\"x\"::\"b\"}",
    "{\u{1f1e8}\u{1f1ed}}",
    "{\"a\":\"a\" 123}",
    "{key: 'value'}",
    "{\"a\" b}",
    "{:\"b\"}",
    "{\"a\" \"b\"}",
    "{\"a\":",
    "{\"a\"",
    "{1:1}",
    "{9999E9999:1}",
    "{null:null,null:null}",
    "{\"id\":0,,,,,}",
    "{'a':0}",
    "{\"id\":0,}",
    "{\"a\":\"b\"}/**/",
    "{\"a\":\"b\"}/**//",
    "{\"a\":\"b\"}//",
    "{\"a\":\"b\",,\"c\":\"d\"}",
    "{a: \"b\"}",
    "{\"a\":\"a",
    "{ \"foo\" : \"bar\", \"a\" }",
    "{\"a\":\"b\"}#",
    "[\"\\uD800\\\"]",
    "[\"\\uD800\\u\"]",
    "[\"\\uD800\\u1\"]",
    "[\"\\uD800\\u1x\"]",
    "[\u{e9}]",
    "[\"\\\u{0}\"]",
    "[\"\\\\\\\"]",
    "[\"\\\t\"]",
    "[\"\\\u{1f300}\"]",
    "[\"\\\"]",
    "[\"\\u00A\"]",
    "[\"\\uD834\\uDd\"]",
    "[\"\\uD800\\uD800\\x\"]",
    "[\"\\a\"]",
    "[\"\\uqqqq\"]",
    "[\\u0020\"asd\"]",
    "[\\n]",
    "\"",
    "['single quote']",
    "abc",
    "[\"\\",
    "[\"a\u{0}a\"]",
    "[\"new\nline\"]",
    "[\"\t\"]",
    "\"\\UA66D\"",
    "\"\"x",
    "<.>",
    "[<null>]",
    "[1]x",
    "[1]]",
    "[\"asd]",
    "a\u{e5}",
    "[True]",
    "1]",
    "{\"x\": true,",
    "[][]",
    "]",
    "\u{feff}",
    "\u{2060}",
    "[",
    "\u{0}",
    "2@",
    "{}}",
    "{\"\":",
    "{\"a\":/*comment*/\"b\"}",
    "{\"a\": true} \"x\"",
    "['",
    "[,",
    "[{",
    "[\"a",
    "[\"a\"",
    "{",
    "{]",
    "{,",
    "{[",
    "{\"a",
    "{'a'",
    "[\"\\{[\"\\{[\"\\{",
    "\u{e9}",
    "*",
    "{\"a\":\"b\"}#{}",
    "[\\u000A\"\"]",
    "[1",
    "[ false, nul",
    "{\"asd\":\"asd\"",
    "[\u{c}]",
    "[\u{a0}1]",
];

const FIELDS: [&str; 5] = ["text", "integer", "number", "boolean", "time"];

/// Every way to read a member `f`, with a member `i` beside it.
fn decoders() -> Vec<Box<dyn Decoder>> {
    let mut decoders = Vec::new();
    for field in FIELDS {
        for f in [
            json!(field),
            json!({ "type": field, "path": "$.f" }),
            json!({ "type": field, "coerce": true }),
            json!({ "type": field, "path": "$.f[-1]" }),
        ] {
            let fields = json!({ "f": f, "i": "integer" });
            decoders.push(
                serde_json::from_value::<Json>(json!({ "fields": fields })).unwrap().decoder().unwrap(),
            );
        }
        let rows = json!({ "fields": { "e": { "type": field, "path": "@" } }, "rows": "$.f[*]" });
        decoders.push(serde_json::from_value::<Json>(rows).unwrap().decoder().unwrap());
    }
    decoders
}

fn passes_over() -> Box<dyn Decoder> {
    serde_json::from_value::<Json>(json!({ "fields": { "i": "integer" } })).unwrap().decoder().unwrap()
}

/// The rows of a record as JSON, or why there is none.
fn read(decoder: Box<dyn Decoder>, record: &[u8]) -> Result<String, String> {
    let list = BinaryArray::from(vec![record]);
    let (decoded, rejects) = decode(decoder, &list);
    if let Some((_, reason)) = rejects.into_iter().next() {
        assert_eq!(decoded.columns.num_rows(), 0, "a record is one or the other");
        return Err(reason);
    }
    let schema = decoded.columns.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let batch = batch(names.zip(decoded.columns.columns().iter().cloned()).collect());
    let encoder = serde_json::from_value::<Json>(json!({})).unwrap().encoder(&input(&batch), None).unwrap();
    Ok(values(&encode(encoder, &batch).unwrap()).join(" "))
}

#[test]
fn what_is_json_is_taken_where_it_is_passed_over_and_is_itself_where_it_is_read() {
    for value in TAKEN {
        let record = format!("{{\"f\":{value},\"i\":7}}");
        assert_eq!(read(passes_over(), record.as_bytes()), Ok("{\"i\":7}".to_owned()), "{record}");
        let oracle: serde_json::Value = serde_json::from_str(value).unwrap();
        let spec = |field: &str| json!({ "fields": { "f": field } });
        let of = |field: &str| {
            let decoder = serde_json::from_value::<Json>(spec(field)).unwrap().decoder().unwrap();
            read(decoder, record.as_bytes())
                .map(|row| serde_json::from_str::<serde_json::Value>(&row).unwrap()["f"].clone())
        };
        match &oracle {
            serde_json::Value::Null => FIELDS.iter().for_each(|field| assert_eq!(of(field), Ok(json!(null)))),
            serde_json::Value::String(_) => assert_eq!(of("text"), Ok(oracle.clone()), "{record}"),
            serde_json::Value::Bool(_) => assert_eq!(of("boolean"), Ok(oracle.clone())),
            serde_json::Value::Number(number) => {
                assert_eq!(of("number").unwrap().as_f64(), number.as_f64(), "{record}");
            }
            // No list and no object is a value of any type.
            _ => FIELDS.iter().for_each(|field| assert!(of(field).is_err(), "{record}")),
        }
        // No way of reading it fails but with a reason.
        for decoder in decoders() {
            assert!(read(decoder, record.as_bytes()).is_ok_and_or_reason(), "{record}");
        }
    }
}

trait IsOkOrReason {
    fn is_ok_and_or_reason(&self) -> bool;
}

impl IsOkOrReason for Result<String, String> {
    fn is_ok_and_or_reason(&self) -> bool {
        self.as_ref().map_or_else(|reason| !reason.is_empty(), |_| true)
    }
}

#[test]
fn what_is_no_json_is_refused_wherever_it_stands_and_however_it_is_read() {
    for value in REFUSED {
        let records =
            [format!("{{\"f\":{value},\"i\":7}}"), format!("{{\"i\":7,\"f\":{value}}}"), (*value).to_owned()];
        for record in records {
            let all = decoders().into_iter().chain([passes_over()]);
            for decoder in all {
                let said = read(decoder, record.as_bytes());
                assert!(said.as_ref().is_err_and(|reason| !reason.is_empty()), "{record:?}: {said:?}");
            }
        }
    }
}

/// What the RFC leaves to each program, and what is beyond what a field holds.
#[test]
fn what_each_program_may_decide() {
    let deep = |open: &str, close: &str, times: usize| {
        format!("{}{}", open.repeat(times), close.repeat(times)).into_bytes()
    };
    let utf_16: Vec<u8> = "{\"i\":7}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let field = |value: &[u8]| [b"{\"f\":", value, b",\"i\":7}"].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a number too large", field(b"1e400")),
        ("a number too small", field(b"-1e-400")),
        (
            "an exponent beyond all measure",
            field(b"0.4e00669999999999999999999999999999999999999999999999969999999006"),
        ),
        ("an integer beyond 64 bits", field(b"123123123123123123123123123123")),
        ("the first integer beyond 64 bits", field(b"9223372036854775808")),
        ("a number that is rounded", field(b"0.1000000000000000055511151231257827021181583404541015625")),
        ("a first surrogate alone", field(b"\"\\uDADA\"")),
        ("a second surrogate alone", field(b"\"a\\uDFAAb\"")),
        ("a surrogate and another character", field(b"\"\\uD888\\u1234\"")),
        ("surrogates the wrong way round", field(b"\"\\uDd1e\\uD834\"")),
        ("a byte that is no UTF-8", field(b"\"\xFF\"")),
        ("a character that is cut", field(b"\"\xE0\xFF\"")),
        ("a slash in two bytes", field(b"\"\xC0\xAF\"")),
        ("a surrogate in UTF-8", field(b"\"\xED\xA0\x80\"")),
        ("a character beyond Unicode", field(b"\"\xF4\xBF\xBF\xBF\"")),
        ("no UTF-8 in a name", b"{\"\xFF\":1,\"i\":7}".to_vec()),
        ("no UTF-8 outside of texts", b"{\"i\":7}\xE9".to_vec()),
        ("UTF-16", utf_16),
        ("a byte order mark", b"\xEF\xBB\xBF{\"i\":7}".to_vec()),
        ("a name with an escape", b"{\"\\u0069\":7}".to_vec()),
        ("a field twice", b"{\"i\":7,\"i\":7}".to_vec()),
        ("a field twice, once with an escape", b"{\"i\":7,\"\\u0069\":8}".to_vec()),
        ("another member twice", b"{\"x\":1,\"x\":2,\"i\":7}".to_vec()),
        ("a member twice in a member", field(b"{\"a\":1,\"a\":2}")),
        ("500 lists", field(&deep("[", "]", 500))),
        ("100,000 lists", field(&deep("[", "]", 100_000))),
        ("100,000 lists that are open", field(&b"[".repeat(100_000))),
        (
            "100,000 objects",
            field(&[b"{\"a\":".repeat(100_000), b"1".to_vec(), b"}".repeat(100_000)].concat()),
        ),
        ("a text of 1 MiB", field(&[b"\"".to_vec(), b"x".repeat(1 << 20), b"\"".to_vec()].concat())),
        ("a number of 1 MiB", field(&b"1".repeat(1 << 20))),
        ("another record behind it", b"{\"i\":7}{\"i\":8}".to_vec()),
        ("a zero behind it", b"{\"i\":7}\0".to_vec()),
        ("spaces around it", b" \t\r\n{\"i\":7}\n\r\t ".to_vec()),
        ("nothing", Vec::new()),
    ];
    let mut table = String::new();
    for (name, record) in cases {
        writeln!(table, "# {name}").unwrap();
        let mut add = |how: &str, said: Result<String, String>| {
            let said = said.unwrap_or_else(|reason| format!("refused: {reason}"));
            let said: String = said.chars().take(160).collect();
            let said = said.escape_debug().to_string().replace("\\\"", "\"");
            writeln!(table, "{how:12} {said}").unwrap();
        };
        add("passed over", read(passes_over(), &record));
        for field in FIELDS {
            let fields = json!({ "fields": { "f": field } });
            add(field, read(serde_json::from_value::<Json>(fields).unwrap().decoder().unwrap(), &record));
        }
        let coerced = json!({ "fields": { "f": { "type": "text", "coerce": true } } });
        add("its text", read(serde_json::from_value::<Json>(coerced).unwrap().decoder().unwrap(), &record));
        for decoder in decoders() {
            assert!(read(decoder, &record).is_ok_and_or_reason());
        }
        table.push('\n');
    }
    insta::assert_snapshot!(table);
}
