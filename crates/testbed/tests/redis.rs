//! A Redis server and a cluster, harmed in every way there is.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use testbed::{Fault, Proxy, Redis, RedisCluster, Reply};

fn get(redis: &Redis, key: &str) -> Option<String> {
    redis.call(&["GET", key]).unwrap().text().map(ToOwned::to_owned)
}

/// The ports of these addresses.
fn ports(addresses: &[String]) -> BTreeSet<i64> {
    addresses.iter().map(|address| address.rsplit(':').next().unwrap().parse().unwrap()).collect()
}

/// Fails unless every node says of each slot that it lies behind the proxy.
fn tells_only_the_proxy(cluster: &RedisCluster, proxy: &Proxy) {
    let announced = ports(proxy.addresses());
    for node in 0..6 {
        let slots = cluster.node(node).call(&["CLUSTER", "SLOTS"]).unwrap();
        // A range is its first slot, its last one, and who holds it.
        let holders = slots.array().iter().flat_map(|range| &range.array()[2..]);
        let at: BTreeSet<i64> =
            holders.map(|holder| holder.array()[1].integer().unwrap()).collect();
        assert!(at.len() >= 3 && at.is_subset(&announced), "{at:?} of {announced:?}");
    }
}

#[test]
fn it_comes_back_from_a_stop_and_a_kill_with_its_data_on_its_port() {
    let redis = Redis::start().unwrap();
    let url = redis.url();
    redis.call(&["SET", "stopped", "kept"]).unwrap();
    redis.stop();
    assert!(TcpStream::connect(redis.address()).is_err());
    assert!(!redis.is_running());
    redis.start_again().unwrap();
    assert_eq!(get(&redis, "stopped").as_deref(), Some("kept"));

    redis.call(&["SET", "killed", "kept"]).unwrap();
    redis.kill();
    assert!(redis.call(&["PING"]).is_err());
    redis.start_again().unwrap();
    assert_eq!(get(&redis, "killed").as_deref(), Some("kept"));
    assert_eq!(redis.url(), url);
}

#[test]
fn settings_take_the_place_of_the_usual_ones() {
    let redis = Redis::start_with(&[("appendonly", "no"), ("maxmemory", "5mb")]).unwrap();
    let told = |name| redis.call(&["CONFIG", "GET", name]).unwrap().array()[1].clone();
    assert_eq!(told("appendonly"), Reply::Text("no".into()));
    assert_eq!(told("maxmemory"), Reply::Text("5242880".into()));
    assert_eq!(told("maxmemory-policy"), Reply::Text("noeviction".into()));
    assert_eq!(redis.call(&["GET", "nothing"]).unwrap(), Reply::Nil);

    let error = Redis::start_with(&[("maxmemory", "lots")]).unwrap_err();
    assert!(format!("{error:#}").contains("maxmemory"), "{error:#}");
}

#[test]
fn a_paused_one_accepts_and_does_not_answer_until_it_goes_on() {
    use std::io::{Read, Write};
    let redis = Redis::start().unwrap();
    redis.pause();
    let mut client = TcpStream::connect(redis.address()).unwrap();
    client.write_all(b"PING\r\n").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut answer = [0; 7];
    assert!(client.read_exact(&mut answer).is_err());
    redis.resume();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
    redis.pause();
    redis.stop();
    assert!(!redis.is_running());
}

#[test]
fn a_cluster_survives_its_master_and_takes_it_back() {
    let cluster = RedisCluster::start().unwrap();
    assert_eq!(cluster.addresses().len(), 6);
    let before = cluster.master_of("key").unwrap();
    cluster.node(before).call(&["SET", "key", "kept"]).unwrap();
    assert_eq!(cluster.node(before).call(&["WAIT", "1", "5000"]).unwrap(), Reply::Integer(1));

    assert_eq!(cluster.kill_master_of("key").unwrap(), before);
    let killed = Instant::now();
    cluster.wait_until_well().unwrap();
    let after = cluster.master_of("key").unwrap();
    assert_eq!(after, before + 3, "after {:?}", killed.elapsed());
    assert_eq!(get(cluster.node(after), "key").as_deref(), Some("kept"));

    cluster.start_again(before).unwrap();
    cluster.wait_until_well().unwrap();
    assert_eq!(cluster.master_of("key").unwrap(), after);
}

#[test]
fn a_cluster_whose_nodes_all_end_comes_back_with_its_data_at_its_addresses() {
    let (cluster, proxy) = RedisCluster::start_behind_proxy(&[("appendfsync", "always")]).unwrap();
    for key in ["stopped", "killed"] {
        let master = cluster.master_of(key).unwrap();
        cluster.node(master).call(&["SET", key, "kept"]).unwrap();
        if key == "stopped" {
            cluster.stop_all();
        } else {
            cluster.kill_all();
        }
        assert!((0..6).all(|node| !cluster.node(node).is_running()));
        cluster.start_all_again().unwrap();
        let master = cluster.master_of(key).unwrap();
        assert_eq!(get(cluster.node(master), key).as_deref(), Some("kept"));
    }
    tells_only_the_proxy(&cluster, &proxy);
}

#[test]
fn a_cluster_behind_a_proxy_tells_nobody_how_to_get_past_it() {
    let (cluster, proxy) = RedisCluster::start_behind_proxy(&[]).unwrap();
    assert_eq!(cluster.addresses(), proxy.addresses());
    let announced = ports(proxy.addresses());
    tells_only_the_proxy(&cluster, &proxy);
    let replication = cluster.node(3).call(&["INFO", "replication"]).unwrap();
    let replication = replication.text().unwrap();
    let master = replication.lines().find_map(|line| line.strip_prefix("master_port:")).unwrap();
    assert!(announced.contains(&master.parse::<i64>().unwrap()), "{replication}");

    let masters = ["a", "b", "c"].map(|key| cluster.master_of(key).unwrap());
    proxy.set(Fault::Refuse);
    let refused = Instant::now();
    for address in proxy.addresses() {
        while TcpStream::connect(address).is_ok() {
            assert!(refused.elapsed() < Duration::from_secs(10), "{address} still accepts");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    // Those who look at it from outside still do, and the nodes still hear of each other.
    assert_eq!(cluster.node(0).call(&["PING"]).unwrap(), Reply::Text("PONG".into()));
    proxy.set(Fault::None);
    cluster.wait_until_well().unwrap();
    assert_eq!(["a", "b", "c"].map(|key| cluster.master_of(key).unwrap()), masters);
}
