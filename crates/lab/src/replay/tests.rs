//! Whole replays, interrupted and not.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::clock::EpochMs;
use model::{Event, Payment};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::sink::{Error, Offered, Rejection, Sink};

const NOW_MS: EpochMs = 1_772_420_400_000;
const MAP: &str = r#"
    tx_id = { template = "t-{id}" }
    card_number = { template = "400000{customer:010}" }
    user_id = { column = "customer" }
    tier = { constant = "normal" }
    merchant = { constant = "m" }
    category = { constant = "c" }
    amount = { column = "amount", scale = 100 }
    created_at = { column = "at", format = "local", time_zone = "Asia/Seoul" }
"#;

type Answer<'a> = Box<dyn FnMut(&[Event]) -> Result<Offered, Error> + Send + 'a>;

/// Keeps what it accepted; `answer` says what that is.
struct Keeps<'a> {
    answer: Answer<'a>,
    ids: Vec<String>,
}

impl Keeps<'_> {
    fn all() -> Keeps<'static> {
        Keeps { answer: Box::new(|events| Ok(Offered::accepted(events.len()))), ids: Vec::new() }
    }
}

#[async_trait]
impl Sink for Keeps<'_> {
    async fn offer(&mut self, events: &[Event]) -> Result<Offered, Error> {
        let answer = (self.answer)(events)?;
        for (event, fate) in events.iter().zip(answer.fates()) {
            if fate == crate::sink::Fate::Accepted {
                self.ids.push(String::from_utf8(event.id().to_vec()).unwrap());
            }
        }
        Ok(answer)
    }
}

struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn csv(&self, records: usize) -> PathBuf {
        let mut text = String::from("id,at,customer,amount\n");
        for id in 0..records {
            text.push_str(&format!("{id},2018-04-01T00:00:31,{},57.16\n", id % 7));
        }
        self.file("in.csv", text.as_bytes())
    }

    fn options(&self) -> Options {
        Options { batch_max: 10, ..Options::new(self.path("data"), "journal:") }
    }

    async fn replay(&self, file: &Path, map: Option<&str>, sink: &mut dyn Sink) -> Summary {
        self.try_replay(file, map, self.options(), sink).await.unwrap()
    }

    async fn try_replay(
        &self,
        file: &Path,
        map: Option<&str>,
        options: Options,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<Summary> {
        let stop = CancellationToken::new();
        Replay::new(file, map, options)?.run(sink, NOW_MS, &stop, &mut |_| {}).await
    }
}

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|id| format!("t-{id}")).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_csv_file_is_offered_whole_and_in_order_also_gzipped_and_in_several_members() {
    let scene = Scene::new();
    let plain = scene.csv(95);
    let text = fs::read(&plain).unwrap();
    let half = text.len() / 2;
    let members = [gzip(&text[..half]), gzip(&text[half..])].concat();
    for file in [plain, scene.file("b.csv.gz", &gzip(&text)), scene.file("c.csv", &members)] {
        let mut sink = Keeps::all();
        let summary = scene.replay(&file, Some(MAP), &mut sink).await;
        assert_eq!((summary.start, summary.finished), (Start::Fresh, true));
        assert_eq!((summary.records, summary.accepted, summary.rejects.total()), (95, 95, 0));
        assert_eq!(sink.ids, ids(0..95));
    }
}

#[tokio::test]
async fn an_interrupted_replay_offers_the_rest_and_nothing_else() {
    for stop_after in [1, 3, 9] {
        let scene = Scene::new();
        let file = scene.csv(95);
        let stop = CancellationToken::new();
        let mut first = Keeps::all();
        let replay = Replay::new(&file, Some(MAP), scene.options()).unwrap();
        let mut progress = |progress: &Progress| {
            if progress.records == stop_after * 10 {
                stop.cancel();
            }
        };
        let summary = replay.run(&mut first, NOW_MS, &stop, &mut progress).await.unwrap();
        assert!(!summary.finished);
        let done = usize::try_from(stop_after).unwrap() * 10;
        assert_eq!(first.ids, ids(0..done));

        let mut second = Keeps::all();
        let summary = scene.replay(&file, Some(MAP), &mut second).await;
        assert_eq!(summary.start, Start::Resumed(stop_after * 10));
        assert_eq!((summary.finished, summary.accepted_total), (true, 95));
        assert_eq!(second.ids, ids(done..95));
    }
}

#[tokio::test]
async fn a_replay_that_failed_goes_on_with_the_batch_that_failed() {
    let scene = Scene::new();
    let file = scene.csv(50);
    let mut calls = 0;
    let answer: Answer<'_> = Box::new(|events| {
        calls += 1;
        if calls == 3 {
            Err(Error::Fatal("gone".into()))
        } else {
            Ok(Offered::accepted(events.len()))
        }
    });
    let mut first = Keeps { answer, ids: Vec::new() };
    let failed = scene.try_replay(&file, Some(MAP), scene.options(), &mut first).await;
    assert!(failed.unwrap_err().to_string().contains("after 20 records"));
    let mut second = Keeps::all();
    assert_eq!(scene.replay(&file, Some(MAP), &mut second).await.start, Start::Resumed(20));
    assert_eq!(second.ids, ids(20..50));
}

#[tokio::test]
async fn a_finished_file_offers_nothing_unless_restarted_or_changed() {
    let scene = Scene::new();
    let file = scene.csv(20);
    scene.replay(&file, Some(MAP), &mut Keeps::all()).await;

    let mut again = Keeps::all();
    let summary = scene.replay(&file, Some(MAP), &mut again).await;
    assert_eq!((summary.start, again.ids.len()), (Start::AlreadyFinished, 0));
    assert_eq!((summary.finished, summary.accepted_total), (true, 20));

    let restart = Options { restart: true, ..scene.options() };
    let elsewhere = Options { target: "http://127.0.0.1:1".into(), ..scene.options() };
    for options in [restart, elsewhere] {
        let mut sink = Keeps::all();
        scene.try_replay(&file, Some(MAP), options, &mut sink).await.unwrap();
        assert_eq!(sink.ids, ids(0..20));
    }
    let mut changed = Keeps::all();
    let summary = scene.replay(&scene.csv(21), Some(MAP), &mut changed).await;
    assert_eq!((summary.start, changed.ids.len()), (Start::Fresh, 21));
}

#[tokio::test]
async fn bad_records_are_counted_by_reason_and_their_neighbours_go_through() {
    let scene = Scene::new();
    let at = "2018-04-01T00:00:31";
    let text = [
        "id,at,customer,amount".to_owned(),
        format!("0,{at},1,1.00"),
        format!("1,{at},1"),
        format!("2,{at},1,many"),
        format!("3,{at},1,2,3"),
        format!("4,{at},12345678901,1"),
        "5,tomorrow,1,1".to_owned(),
        format!("6,{at},1,\"7.00\""),
        format!("\"7\n\",{at},1,x"),
        format!("8,{at},\"a,b\",1"),
        String::new(),
        format!("9,{at},1,1"),
    ];
    let mut bytes = text.join("\r\n").into_bytes();
    bytes.extend_from_slice(b"\r\n10,\xff,1,1\r\n");
    let mut sink = Keeps::all();
    let summary = scene.replay(&scene.file("in.csv", &bytes), Some(MAP), &mut sink).await;
    assert_eq!(sink.ids, ["t-0", "t-6", "t-9"]);
    assert_eq!((summary.records, summary.accepted, summary.rejects.total()), (11, 3, 8));
    let listed = summary.rejects.to_string();
    for expected in
        ["must have 4 columns", "amount: must be a decimal", "is wider than 10", "UTF-8"]
    {
        assert!(listed.contains(expected), "{expected} not in {listed}");
    }
    let columns = summary.rejects.by_count().into_iter().find(|(r, _)| r.contains("4 columns"));
    assert_eq!(columns.unwrap().1.first_lines, [3, 5]);
}

#[tokio::test]
async fn ndjson_in_our_own_format_goes_on_byte_for_byte() {
    let scene = Scene::new();
    let line = |id: &str, amount: &str| {
        let rest = r#""merchant":"m","category":"c","created_at":"2018-04-01T00:00:31+09:00""#;
        let card = r#""card_number":"4000001234567899","user_id":"u","tier":"vip""#;
        format!(r#"{{"tx_id":"{id}", {card},"amount":{amount},{rest},"label":"velocity"}}"#)
    };
    let text = [line("a", "1"), String::new(), line("b", "-1"), "no".into(), line("c", "2")];
    let text = text.join("\n");
    let expected = [line("a", "1"), line("c", "2")];
    let mut payloads = Vec::new();
    let answer: Answer<'_> = Box::new(|events| {
        payloads.extend(events.iter().map(|e| String::from_utf8(e.payload().to_vec()).unwrap()));
        Ok(Offered::accepted(events.len()))
    });
    let mut sink = Keeps { answer, ids: Vec::new() };
    let file = scene.file("in.ndjson.gz", &gzip(text.as_bytes()));
    let summary = scene.replay(&file, None, &mut sink).await;
    drop(sink);
    assert_eq!(payloads, expected);
    assert_eq!((summary.records, summary.rejects.total()), (4, 2));
}

#[tokio::test]
async fn ndjson_of_another_shape_is_mapped_and_its_numbers_stay_exact() {
    let scene = Scene::new();
    let text = r#"{"id":7,"at":"2018-04-01T00:00:31","customer":"\u0035","amount":90071992547409.93}
{"id":8,"at":"2018-04-01T00:00:31","customer":null,"amount":1}
{"id":9,"at":"2018-04-01T00:00:31","customer":[5],"amount":1}"#;
    let mut seen = Vec::new();
    let answer: Answer<'_> = Box::new(|events| {
        for event in events {
            let payment = Payment::parse(event.payload(), NOW_MS).unwrap();
            seen.push((payment.user_id.to_string(), payment.amount));
        }
        Ok(Offered::accepted(events.len()))
    });
    let mut sink = Keeps { answer, ids: Vec::new() };
    let file = scene.file("in.jsonl", text.as_bytes());
    let summary = scene.replay(&file, Some(MAP), &mut sink).await;
    drop(sink);
    assert_eq!(seen, [("5".to_owned(), 9_007_199_254_740_993)]);
    assert_eq!(summary.rejects.total(), 2);
}

#[tokio::test]
async fn what_is_refused_is_offered_again_until_the_patience_is_at_its_end() {
    let scene = Scene::new();
    let file = scene.csv(30);
    let mut calls = 0;
    let answer: Answer<'_> = Box::new(|events| {
        calls += 1;
        let accepted = if calls % 2 == 0 { events.len() } else { events.len() / 3 };
        let retry_after = Some(Duration::from_millis(1));
        Ok(Offered {
            accepted,
            refused: events.len() - accepted,
            retry_after,
            ..Offered::default()
        })
    });
    let mut sink = Keeps { answer, ids: Vec::new() };
    let summary = scene.replay(&file, Some(MAP), &mut sink).await;
    assert_eq!((summary.accepted, sink.ids), (30, ids(0..30)));
    assert!(summary.refused > 0);

    let options = Options { restart: true, patience: Duration::from_millis(50), ..scene.options() };
    let full: Answer<'_> = Box::new(|e| Ok(Offered::refused(e.len(), Duration::from_millis(1))));
    let mut sink = Keeps { answer: full, ids: Vec::new() };
    let error = scene.try_replay(&file, Some(MAP), options, &mut sink).await.unwrap_err();
    assert!(error.to_string().contains("there was no room"), "{error}");
}

#[tokio::test]
async fn what_the_sink_rejects_is_listed_with_its_line() {
    let scene = Scene::new();
    let answer: Answer<'_> = Box::new(|events| {
        let rejections = vec![Rejection { index: 2, problem: "tier: not here".into() }];
        Ok(Offered { accepted: events.len() - 1, rejected: 1, rejections, ..Offered::default() })
    });
    let mut sink = Keeps { answer, ids: Vec::new() };
    let summary = scene.replay(&scene.csv(20), Some(MAP), &mut sink).await;
    assert_eq!((summary.records, summary.accepted), (20, 18));
    assert_eq!(summary.rejects.by_count()[0].1.first_lines, [4, 14]);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_rejected_alone_and_never_held() {
    let scene = Scene::new();
    let at = "2018-04-01T00:00:31";
    let mut text = format!("id,at,customer,amount\n0,{at},1,1\n1,\"").into_bytes();
    text.resize(text.len() + 3 * RECORD_BYTES_MAX, b'x');
    text.extend_from_slice(format!("\n2,{at},1,1\n").as_bytes());
    let mut sink = Keeps::all();
    let summary = scene.replay(&scene.file("in.csv", &text), Some(MAP), &mut sink).await;
    assert_eq!(sink.ids, ["t-0", "t-2"]);
    let (problem, reason) = summary.rejects.by_count()[0];
    assert!(problem.starts_with("the line is longer than 1048576 bytes"), "{problem}");
    assert_eq!((reason.count, &reason.first_lines), (1, &vec![3]));
}

#[tokio::test]
async fn a_quote_that_is_not_closed_is_told_by_its_line_and_takes_no_other_record() {
    let scene = Scene::new();
    let mut text = "id,at,customer,amount\n".to_owned();
    for id in 0..30 {
        let quote = if id == 12 { "\"" } else { "" };
        text.push_str(&format!("{id},{quote}2018-04-01T00:00:31,1,1\n"));
    }
    let mut sink = Keeps::all();
    let summary = scene.replay(&scene.file("in.csv", text.as_bytes()), Some(MAP), &mut sink).await;
    assert_eq!(sink.ids, [ids(0..12), ids(13..30)].concat());
    let (problem, reason) = summary.rejects.by_count()[0];
    assert!(problem.starts_with("a quote opens in this line and is not closed"), "{problem}");
    assert_eq!((reason.count, &reason.first_lines), (1, &vec![14]));
}

#[tokio::test]
async fn what_is_piped_is_offered_whole_each_time_and_leaves_no_state() {
    let scene = Scene::new();
    let text = fs::read(scene.csv(95)).unwrap();
    let options = || Options { format: Some(Format::Csv), ..scene.options() };
    let stop = CancellationToken::new();
    for input in [text.clone(), text.clone(), gzip(&text)] {
        let mut sink = Keeps::all();
        let replay = Replay::piped(std::io::Cursor::new(input), Some(MAP), options()).unwrap();
        let mut last = Progress::default();
        let summary =
            replay.run(&mut sink, NOW_MS, &stop, &mut |progress| last = *progress).await.unwrap();
        assert_eq!((summary.start, summary.finished, summary.accepted), (Start::Fresh, true, 95));
        assert_eq!(sink.ids, ids(0..95));
        assert_eq!((last.records, last.bytes_total), (95, 0));
        assert!(last.bytes > 0);
    }
    assert!(!scene.path("data").exists(), "it cannot go on with another input");
    let unnamed = Replay::piped(std::io::empty(), None, scene.options()).unwrap_err();
    assert!(unnamed.to_string().contains("its format is unknown; give --format"), "{unnamed}");
}

#[tokio::test]
async fn a_replay_of_an_input_that_waits_can_be_stopped() {
    let scene = Scene::new();
    let (input, _held_open) = std::io::pipe().unwrap();
    let options = Options { format: Some(Format::Ndjson), ..scene.options() };
    let replay = Replay::piped(input, None, options).unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let summary = replay.run(&mut Keeps::all(), NOW_MS, &stop, &mut |_| {}).await.unwrap();
    assert!(!summary.finished);
}

#[tokio::test]
async fn zeros_behind_a_gzip_member_are_padding() {
    let scene = Scene::new();
    let text = fs::read(scene.csv(95)).unwrap();
    let (first, second) = text.split_at(text.len() / 2);
    let padded = [gzip(&text), vec![0; 300_000]].concat();
    let between = [gzip(first), vec![0; 7], gzip(second), vec![0]].concat();
    for (name, bytes) in [("a.csv.gz", padded), ("b.csv.gz", between)] {
        let mut sink = Keeps::all();
        let summary = scene.replay(&scene.file(name, &bytes), Some(MAP), &mut sink).await;
        assert_eq!((summary.finished, summary.rejects.total()), (true, 0), "{name}");
        assert_eq!(sink.ids, ids(0..95), "{name}");
    }
    let garbage = [gzip(&text), b"garbage".to_vec()].concat();
    let file = scene.file("c.csv.gz", &garbage);
    scene.try_replay(&file, Some(MAP), scene.options(), &mut Keeps::all()).await.unwrap_err();
}

#[tokio::test]
async fn a_file_in_utf_16_is_named() {
    let scene = Scene::new();
    let text = fs::read_to_string(scene.csv(3)).unwrap();
    let units = |mark: &[u16]| mark.iter().copied().chain(text.encode_utf16()).collect::<Vec<_>>();
    let little = |units: Vec<u16>| units.into_iter().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let big = |units: Vec<u16>| units.into_iter().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    for (name, bytes) in [
        ("a.csv", little(units(&[0xfeff]))),
        ("b.csv", big(units(&[0xfeff]))),
        ("c.csv", little(units(&[]))),
        ("d.ndjson", big(units(&[]))),
        ("e.csv.gz", gzip(&little(units(&[0xfeff])))),
    ] {
        let file = scene.file(name, &bytes);
        let failed = scene.try_replay(&file, Some(MAP), scene.options(), &mut Keeps::all()).await;
        let error = format!("{:#}", failed.unwrap_err());
        assert!(error.contains("is UTF-16; convert it to UTF-8: iconv"), "{name}: {error}");
        assert!(error.contains(name), "{error}");
    }
}

#[tokio::test]
async fn a_gzip_file_cut_short_is_an_error_after_what_could_be_read() {
    let scene = Scene::new();
    let text = fs::read(scene.csv(5_000)).unwrap();
    let packed = gzip(&text);
    let file = scene.file("cut.csv.gz", &packed[..packed.len() / 2]);
    let mut sink = Keeps::all();
    let failed = scene.try_replay(&file, Some(MAP), scene.options(), &mut sink).await;
    assert!(failed.is_err() && !sink.ids.is_empty());
    assert_eq!(sink.ids, ids(0..sink.ids.len()));
    let mut rest = Keeps::all();
    let whole = scene.file("cut.csv.gz", &packed);
    scene.replay(&whole, Some(MAP), &mut rest).await;
    assert_eq!(rest.ids.len(), 5_000, "another file at the same path starts over");
}

#[tokio::test]
async fn a_file_corrected_past_its_first_mebibyte_is_offered_again() {
    let scene = Scene::new();
    let options = || Options { batch_max: 1_000, ..scene.options() };
    let file = scene.csv(40_000);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.len() > 1024 * 1024 + 100_000, "{}", text.len());
    let corrected =
        text.replace("39999,2018-04-01T00:00:31,1,57.16", "39999,2018-04-01T00:00:31,1,57.17");
    assert!(corrected != text && corrected.len() == text.len());
    for (name, before, after) in [
        ("a.csv", text.clone().into_bytes(), corrected.clone().into_bytes()),
        ("b.csv.gz", stored(text.as_bytes()), stored(corrected.as_bytes())),
    ] {
        let mut first = Keeps::all();
        scene
            .try_replay(&scene.file(name, &before), Some(MAP), options(), &mut first)
            .await
            .unwrap();
        let mut same = Keeps::all();
        let summary =
            scene.try_replay(&scene.path(name), Some(MAP), options(), &mut same).await.unwrap();
        assert_eq!((summary.start, same.ids.len()), (Start::AlreadyFinished, 0), "{name}");
        let mut again = Keeps::all();
        let summary = scene
            .try_replay(&scene.file(name, &after), Some(MAP), options(), &mut again)
            .await
            .unwrap();
        assert_eq!((summary.start, again.ids.len()), (Start::Fresh, 40_000), "{name}");
    }
}

#[tokio::test]
async fn an_interrupted_replay_starts_over_if_what_it_read_was_corrected() {
    let scene = Scene::new();
    let file = scene.csv(40_000);
    let text = fs::read_to_string(&file).unwrap();
    let options = || Options { batch_max: 1_000, ..scene.options() };
    let stopped_at = |records: u64| {
        let file = file.clone();
        let options = options();
        async move {
            let stop = CancellationToken::new();
            let replay = Replay::new(&file, Some(MAP), options).unwrap();
            let mut progress = |progress: &Progress| {
                if progress.records == records {
                    stop.cancel();
                }
            };
            replay.run(&mut Keeps::all(), NOW_MS, &stop, &mut progress).await.unwrap()
        }
    };
    assert!(!stopped_at(35_000).await.finished);
    // Behind what was read, a correction does not matter: those records are still to come.
    let line = |id: u32, amount: &str| format!("\n{id},2018-04-01T00:00:31,{},{amount}", id % 7);
    let behind = text.replace(&line(39_999, "57.16"), &line(39_999, "57.17"));
    fs::write(&file, &behind).unwrap();
    assert_eq!(stopped_at(36_000).await.start, Start::Resumed(35_000));
    let before = behind.replace(&line(34_000, "57.16"), &line(34_000, "57.17"));
    assert!(before != behind);
    fs::write(&file, &before).unwrap();
    let mut again = Keeps::all();
    let summary = scene.try_replay(&file, Some(MAP), options(), &mut again).await.unwrap();
    assert_eq!((summary.start, again.ids.len()), (Start::Fresh, 40_000));
}

/// Gzipped without compression, so that equal lengths stay equal.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn no_error_repeats_what_is_in_a_file() {
    let scene = Scene::new();
    let row = |line_end: &str| {
        format!("t1,4000001234567899,u,vip,100,m,c,2018-04-01T00:00:31Z{line_end}").repeat(3)
    };
    let header = "tx_id,card_number,user_id,tier,amount,merchant,category,created_at";
    let json = "{\"tx_id\":4000001234567899,\"4000001234567899\":1}\n\"4000001234567899\"\n";
    for (name, text, map, expected) in [
        ("no-header.csv", row("\n"), None, "no column tx_id"),
        ("cr.csv", format!("{header}\r{}", row("\r")), None, "carriage return"),
        ("near.csv", "4000001234567899,tx_idd\n".to_owned(), None, "column 2"),
        ("map.csv", format!("{header}\n{}", row("\n")), Some("4000001234567899 = ,"), "line 1"),
        ("map.csv", format!("{header}\n{}", row("\n")), Some("a\n4000001234567899"), "line 1"),
        ("bad.ndjson", json.to_owned(), None, ""),
        ("bad.ndjson", json.to_owned(), Some(MAP), ""),
        ("bad.ndjson", json.to_owned(), Some(""), ""),
    ] {
        let (file, mut sink) = (scene.file(name, text.as_bytes()), Keeps::all());
        let said = match scene.try_replay(&file, map, scene.options(), &mut sink).await {
            Ok(summary) => summary.rejects.to_string(),
            Err(error) => format!("{error:#}"),
        };
        assert!(!said.is_empty() && !said.contains("400000"), "{name}: {said}");
        assert!(said.contains(expected), "{name}: {expected:?} is not in {said}");
    }
}

#[tokio::test]
async fn a_name_that_is_there_twice_is_refused_where_the_map_uses_it() {
    let scene = Scene::new();
    let text = "id,at,customer,amount,amount,note,note\n1,2018-04-01T00:00:31,1,1,2,a,b\n";
    let twice = scene.file("twice.csv", text.as_bytes());
    let failed = scene.try_replay(&twice, Some(MAP), scene.options(), &mut Keeps::all()).await;
    let error = format!("{:#}", failed.unwrap_err());
    assert!(error.contains("amount") && error.contains("columns 4 and 5"), "{error}");
    let once = text.replacen("amount,amount", "amount,other", 1);
    let mut sink = Keeps::all();
    scene.replay(&scene.file("once.csv", once.as_bytes()), Some(MAP), &mut sink).await;
    assert_eq!(sink.ids, ["t-1"]);

    let line = |id: u32, more: &str| {
        format!(
            "{{\"id\":{id},\"at\":\"2018-04-01T00:00:31\",\"customer\":5,\"amount\":1{more}}}\n"
        )
    };
    let text = [line(1, ",\"amount\":2"), line(2, ",\"\\u0061mount\":2"), line(3, "")].concat();
    let mut sink = Keeps::all();
    let summary =
        scene.replay(&scene.file("a.ndjson", text.as_bytes()), Some(MAP), &mut sink).await;
    assert_eq!(sink.ids, ["t-3"]);
    let said = summary.rejects.to_string();
    assert!(said.contains("amount") && said.contains("twice"), "{said}");
}

/// The data set beside the workspace, or where `TEST_DATASET` says.
fn dataset() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let beside = root.join("../shared/data/card-payments-2018-04.csv.gz");
    let path = std::env::var_os("TEST_DATASET").map_or(beside, PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{} is missing", path.display());
    eprintln!("skipped: {} is missing; set TEST_DATASET", path.display());
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_2018_data_set_is_a_valid_payment() {
    let Some(file) = dataset() else { return };
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/card-payments-2018.toml");
    let map = fs::read_to_string(map).unwrap();
    let scene = Scene::new();
    let distinct = Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let seen = Arc::clone(&distinct);
    let answer: Answer<'_> = Box::new(move |events| {
        seen.lock().unwrap().extend(events.iter().map(|event| event.id().to_vec()));
        Ok(Offered::accepted(events.len()))
    });
    let mut sink = Keeps { answer, ids: Vec::new() };
    let options = Options::new(scene.path("data"), "journal:");
    let summary = scene.try_replay(&file, Some(&map), options, &mut sink).await.unwrap();
    assert_eq!(summary.rejects.to_string(), "");
    assert_eq!((summary.records, summary.accepted), (288_062, 288_062));
    assert_eq!(distinct.lock().unwrap().len(), 288_062);
}

#[tokio::test]
async fn the_example_payments_need_no_map() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let scene = Scene::new();
    let file = root.join("payments.ndjson");
    let summary = scene.replay(&file, None, &mut Keeps::all()).await;
    assert_eq!((summary.records, summary.accepted), (20, 20), "{}", summary.rejects);
}
