//! Local times of zones with summer time.

use super::*;

fn local(zone: &str, ambiguous: &str, text: &str) -> Result<String, String> {
    let settings =
        json!({ "field": "t", "format": "%Y-%m-%d %H:%M:%S", "zone": zone, "ambiguous": ambiguous });
    let millis = time(settings, json!({ "t": text }))?;
    Ok(DateTime::from_timestamp_millis(millis).unwrap().format("%dT%H:%M:%S").to_string())
}

#[test]
fn a_clock_shows_the_time_of_its_zone() {
    let one = |zone: &str, text: &str| local(zone, "reject", text).unwrap();
    assert_eq!(one("Asia/Shanghai", "2026-01-31 09:30:00"), "31T01:30:00");
    // Shanghai had summer time then.
    assert_eq!(one("Asia/Shanghai", "1990-07-01 09:30:00"), "01T00:30:00");
    assert_eq!(one("Europe/Berlin", "2026-01-31 09:30:00"), "31T08:30:00");
    assert_eq!(one("Europe/Berlin", "2026-07-31 09:30:00"), "31T07:30:00");
    assert_eq!(one("Asia/Kathmandu", "2026-07-31 09:30:00"), "31T03:45:00");
    assert_eq!(one("UTC", "2026-07-31 09:30:00"), "31T09:30:00");
}

#[test]
fn a_time_that_is_shown_twice_or_never_is_as_the_file_says() {
    let cases = [
        // Berlin goes from 02:00 to 03:00, and from 03:00 back to 02:00.
        ("Europe/Berlin", "2026-03-29 02:30:00", "29T00:30:00", "29T01:30:00", "at no time"),
        ("Europe/Berlin", "2026-10-25 02:30:00", "25T00:30:00", "25T01:30:00", "twice"),
        ("Europe/Berlin", "2026-10-25 02:00:00", "25T00:00:00", "25T01:00:00", "twice"),
        ("America/New_York", "2026-03-08 02:00:00", "08T06:00:00", "08T07:00:00", "at no time"),
        ("America/New_York", "2026-11-01 01:59:59", "01T05:59:59", "01T06:59:59", "twice"),
        // Half an hour.
        ("Australia/Lord_Howe", "2026-10-04 02:15:00", "03T15:15:00", "03T15:45:00", "at no time"),
        // Samoa left a whole day out.
        ("Pacific/Apia", "2011-12-30 12:00:00", "29T22:00:00", "30T22:00:00", "at no time"),
    ];
    for (zone, text, earlier, later, how_often) in cases {
        assert_eq!(local(zone, "earlier", text), Ok(earlier.to_owned()), "{zone} {text}");
        assert_eq!(local(zone, "later", text), Ok(later.to_owned()), "{zone} {text}");
        let why = format!(
            "`t` is not a time: {text:?}: the clocks of {zone} showed it {how_often}; `ambiguous: earlier` or `later` takes one"
        );
        assert_eq!(local(zone, "reject", text), Err(why));
    }
    let unsaid = json!({ "field": "t", "format": "%Y-%m-%d %H", "zone": "Europe/Berlin" });
    assert!(
        time(unsaid, json!({ "t": "2026-10-25 02" })).is_err(),
        "nothing is guessed where nothing is said"
    );
    assert!(local("Europe/Berlin", "reject", "2026-10-25 03:00:00").is_ok());
    assert!(local("Europe/Berlin", "reject", "2026-03-29 03:00:00").is_ok());
}

proptest! {
    /// What the clocks of a zone show at an instant is read as that instant, or as the other one at which
    /// they show it.
    #[test]
    fn what_a_clock_shows_is_when_it_shows_it(seconds in 0i64..2_000_000_000, which in 0..chrono_tz::TZ_VARIANTS.len()) {
        let zone = chrono_tz::TZ_VARIANTS[which];
        let shown = DateTime::from_timestamp(seconds, 0).unwrap().with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string();
        let of = |ambiguous: &str| {
            let settings = json!({ "field": "t", "format": "%Y-%m-%d %H:%M:%S", "zone": zone.name(), "ambiguous": ambiguous });
            time(settings, json!({ "t": shown }))
        };
        let (earlier, later) = (of("earlier").unwrap(), of("later").unwrap());
        prop_assert!(earlier == seconds * 1000 || later == seconds * 1000, "{}: {}", zone.name(), shown);
        prop_assert_eq!(of("reject").ok(), (earlier == later).then_some(earlier));
    }
}
