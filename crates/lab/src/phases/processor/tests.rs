use super::*;

fn process(pid: u32, parent: u32, name: &str, own: u64, reaped: u64) -> Stat {
    let line =
        format!("{pid} ({name}) S {parent} 1 1 0 -1 4194304 9 9 9 9 {own} 0 {reaped} 0 20 0");
    stat::parse(&line).unwrap()
}

fn reading(at_ms: u64, client: f64, servers: &[(&str, f64)]) -> Reading {
    let servers = servers.iter().map(|&(name, used)| (name.to_owned(), used)).collect();
    Reading { at: Duration::from_millis(at_ms), client: Some(client), servers }
}

#[test]
fn a_line_is_read_though_the_name_holds_brackets_and_blanks() {
    let line = "4242 (a) R (b c) S 17 4242 4242 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 7 0 100 1 1";
    let stat = stat::parse(line).unwrap();
    assert_eq!((stat.pid, stat.parent, stat.name.as_str()), (4242, 17, "a) R (b c"));
    assert_eq!((stat.own_seconds(), stat.family_seconds()), (2.0, 2.5));
}

#[test]
fn a_line_that_is_cut_off_is_no_process() {
    let line = "4242 (name) S 17 4242 4242 0 -1 4194560 1 2 3 4 150 50 30 20";
    assert!(stat::parse(line).is_some());
    for end in 0..line.len() - 2 {
        assert_eq!(stat::parse(&line[..end]), None, "{:?}", &line[..end]);
    }
}

#[test]
fn a_server_is_a_process_with_all_its_descendants() {
    let stats = [
        process(30, 20, "worker", 400, 0),
        process(10, 1, "server", 100, 50),
        process(20, 10, "worker", 200, 0),
        process(11, 1, "other", 10_000, 0),
    ];
    assert_eq!(family(&stats, &[10]), Some(7.5));
    assert_eq!(family(&stats, &[10, 20]), Some(7.5), "none is counted twice");
    assert_eq!(family(&stats, &[20, 11]), Some(106.0));
    assert_eq!(family(&stats, &[99]), None);
}

#[test]
fn a_child_that_ended_is_still_counted() {
    let before = [process(10, 1, "server", 100, 0), process(20, 10, "worker", 300, 0)];
    let after = [process(10, 1, "server", 110, 320)];
    let (before, after) = (family(&before, &[10]).unwrap(), family(&after, &[10]).unwrap());
    assert!((after - before - 0.3).abs() < 1e-9, "{before} {after}");
}

#[test]
fn a_backend_leads_to_the_topmost_process_of_its_name() {
    let stats = [
        process(1, 0, "init", 0, 0),
        process(10, 1, "postgres", 0, 0),
        process(20, 10, "postgres", 0, 0),
        process(30, 1, "redis-server", 0, 0),
    ];
    assert_eq!(root_among(&stats, 20, "postgres"), Some(10));
    assert_eq!(root_among(&stats, 30, "redis-server"), Some(30));
    assert_eq!(root_among(&stats, 30, "postgres"), None, "a number of another machine");
    assert_eq!(root_among(&stats, 99, "postgres"), None);
}

#[test]
fn use_is_told_in_cores_for_each_stretch_and_for_the_whole() {
    let mut tally = Tally::new(reading(0, 10.0, &[("db", 5.0)]));
    tally.add(reading(250, 10.25, &[("db", 5.5)]), false);
    tally.add(reading(500, 10.25, &[("db", 5.5)]), false);
    let Load { mean, samples } = tally.load();
    let of = |name: &str, cores| BTreeMap::from([(name.to_owned(), cores)]);
    assert_eq!(mean, Some(CoresMean { client: 0.5, servers: of("db", 1.0) }));
    let told = |at_seconds, client_cores, db| CpuSample {
        at_seconds,
        client_cores,
        server_cores: of("db", db),
    };
    assert_eq!(samples, [told(0.25, 1.0, 2.0), told(0.5, 0.0, 0.0)]);
}

#[test]
fn a_server_that_starts_again_or_comes_late_counts_from_there() {
    let mut tally = Tally::new(reading(0, 0.0, &[("db", 50.0)]));
    tally.add(reading(250, 0.0, &[("db", 0.1), ("late", 9.0)]), false);
    tally.add(reading(500, 0.0, &[("db", 0.6), ("late", 9.25)]), false);
    let servers = tally.load().mean.unwrap().servers;
    assert_eq!((servers["db"], servers["late"]), (1.0, 0.5));
}

#[test]
fn a_last_look_right_after_another_makes_no_sample_but_counts() {
    let mut tally = Tally::new(reading(0, 0.0, &[]));
    tally.add(reading(250, 0.0, &[]), false);
    tally.add(reading(260, 0.13, &[]), true);
    let Load { mean, samples } = tally.load();
    assert_eq!(samples.len(), 1);
    assert!((mean.unwrap().client - 0.5).abs() < 1e-9);
}

#[test]
fn where_there_is_no_proc_nothing_is_known() {
    let blind = Reading { client: None, ..Reading::default() };
    let mut tally = Tally::new(blind.clone());
    tally.add(Reading { at: EVERY, ..blind }, true);
    assert_eq!(tally.load(), Load::default());
}

#[test]
#[cfg(target_os = "linux")]
fn a_busy_grandchild_and_this_process_are_seen() {
    // It counts to a million, so that it ends by itself whatever becomes of this test.
    let busy = "sh -c 'i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done' & wait";
    let mut child = std::process::Command::new("sh").args(["-c", busy]).spawn().unwrap();
    let server = Server { name: "sh".into(), pids: vec![child.id()] };
    let gone = Server { name: "gone".into(), pids: vec![u32::MAX] };
    let sampler = Sampler::start(vec![server, gone]);
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    child.wait().unwrap();
    let Load { mean, samples } = sampler.stop();
    let mean = mean.unwrap();
    assert!(mean.client > 0.0 && mean.servers["sh"] > 0.0, "{mean:?}");
    assert_eq!(mean.servers.len(), 1, "{mean:?}");
    assert!(samples.iter().any(|sample| sample.client_cores > 0.0), "{samples:?}");
}
