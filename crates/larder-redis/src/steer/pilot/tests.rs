use super::*;

const VALUE: usize = 1_000;

fn item(key: u64) -> Item {
    let name = names::key("test", &key.to_string());
    Item { name, bytes: vec![0; VALUE].into(), ttl: Duration::from_secs(60) }
}

fn filled(pilot: &mut Pilot, keys: std::ops::Range<u64>) {
    for item in keys.map(item) {
        assert!(pilot.fill(&item, Time(0)));
        pilot.settled(&item, true);
    }
}

#[test]
fn learning_ends_with_a_scan_whatever_the_server_evicts_meanwhile() {
    let mut pilot = Pilot::new(Steering::default(), 1, 0);
    // Somebody else's keys, and a server that is full once there are as many of ours.
    let full = ServerInfo { used_memory: 1 << 20, maxmemory: 1 << 20, keys: 1_000, ..ServerInfo::default() };
    pilot.read(&ServerInfo { keys: 500, ..full }, Time(0));
    filled(&mut pilot, 0..500);
    assert!(std::mem::take(&mut pilot.sweep), "a new namespace is looked for");
    // Far more are filled than it keeps, which hides the strangers …
    filled(&mut pilot, 500..2_000);
    pilot.read(&ServerInfo { evicted_keys: 1_500, ..full }, Time(1));
    assert!(!pilot.steers());
    // … until those that were evicted are found to be gone.
    let gone: Vec<_> = (0..1_500).map(|key| item(key).name).collect();
    pilot.missing(&gone);
    pilot.read(&ServerInfo { evicted_keys: 1_500, ..full }, Time(2));
    assert!(pilot.swept(), "it was waited for");
    pilot.read(&ServerInfo { evicted_keys: 1_500, ..full }, Time(3));
    assert!(pilot.steers());
}

#[test]
fn a_namespace_that_comes_later_switches_steering_off_only_where_it_may_be_most_of_the_keys() {
    for (keys, steers) in [(1_300, true), (10_000, false)] {
        let mut pilot = Pilot::new(Steering::default(), 1, 0);
        let info = ServerInfo { maxmemory: 1 << 30, keys: 1_000, ..ServerInfo::default() };
        pilot.read(&info, Time(0));
        filled(&mut pilot, 0..1_000);
        assert!(pilot.begins_sweep() && pilot.swept());
        pilot.read(&ServerInfo { keys, ..info }, Time(1));
        let new = names::key("later", "1");
        pilot.seen(&new, None, Time(2));
        pilot.read(&ServerInfo { keys, ..info }, Time(3));
        assert_eq!(pilot.steers(), steers, "{keys}");
        assert_eq!(pilot.room(), Room::Grows);
        assert!(pilot.begins_sweep(), "its keys are looked for");
        // Yet another one meanwhile does not begin it all anew, once most is known.
        filled(&mut pilot, 1_000..keys);
        pilot.seen(&names::key("last", "1"), None, Time(4));
        assert!(pilot.swept() != steers && pilot.steers());
        assert!(pilot.begins_sweep());
    }
}

#[test]
fn what_a_scan_finds_late_is_not_taken_from_a_peer() {
    let mut pilot = Pilot::new(Steering::default(), 1, 0);
    pilot.read(&ServerInfo { maxmemory: 1 << 20, ..ServerInfo::default() }, Time(0));
    let names: Vec<_> = (0..100).map(|key| item(key).name).collect();
    assert_eq!(pilot.unknown(names.iter().map(|name| &**name)).len(), 0, "of a namespace that is not in use");
    assert!(pilot.concerns(&names[0]));
    let unknown = pilot.unknown(names.iter().map(|name| &**name));
    assert_eq!(unknown.len(), 100);
    pilot.greeted(Hello { serves: pilot.hello(None).serves, ..peer() }, Time(1));
    unknown.iter().for_each(|name| pilot.found(name, VALUE, None, Time(2)));
    let ours = names.iter().filter(|name| pilot.owner(name).is_none()).count();
    assert!(ours > 0 && ours < 100 && pilot.state().keys == ours, "{ours}, {:?}", pilot.state());
}

/// One that steers a server of `room` bytes, all of whose keys it knows, and has pushed many out of it.
fn steering(room: u64) -> (Pilot, ServerInfo) {
    let mut pilot = Pilot::new(Steering::default().policy("lru").unwrap(), 1, 0);
    let info = ServerInfo { maxmemory: room, ..ServerInfo::default() };
    pilot.read(&info, Time(0));
    assert!(pilot.swept());
    pilot.read(&info, Time(0));
    for key in 1_000..2_000 {
        let item = item(key);
        pilot.fill(&item, Time(0));
        pilot.settled(&item, true);
    }
    assert!(pilot.guard.is_some() && pilot.steers());
    (pilot, info)
}

#[test]
fn what_ends_or_is_written_is_no_reason_to_retreat() {
    const MINUTE: u64 = 61_000_000;
    let is_marked = envelope::Envelope::invalidated(1, envelope::Fence(1));
    for case in 0..5 {
        let (mut pilot, _) = steering(500 * VALUE as u64);
        for (round, key) in (0..60).flat_map(|round| (0..100).map(move |key| (round, key))) {
            let now = Time(if case == 0 { round * MINUTE } else { 1 + round });
            let item = item(key);
            match case {
                1 => pilot.gone(&item.name),
                2 => {
                    let event = Event { kind: Kind::Gone, weight: 0, ttl: None, name: item.name.clone() };
                    pilot.told(&event, now);
                }
                3 => {
                    let mark = is_marked.encode(&item.name, &envelope::Form::default()).unwrap();
                    pilot.seen(&item.name, Some(&mark), now);
                }
                // Those are lost indeed.
                4 => pilot.missing(std::slice::from_ref(&item.name)),
                _ => {}
            }
            pilot.seen(&item.name, None, now);
            pilot.fill(&item, now);
            pilot.settled(&item, true);
        }
        assert_eq!(pilot.state().retreats > 0, case == 4, "case {case}: {:?}", pilot.state());
    }
}

#[test]
fn what_the_server_evicts_while_we_learn_is_not_held_against_steering() {
    let (mut pilot, info) = steering(500 * VALUE as u64);
    pilot.read(&ServerInfo { keys: 10_000, ..info }, Time(1));
    pilot.seen(&names::key("later", "1"), None, Time(1));
    assert!(!pilot.steers(), "most keys are unknown");
    for round in 0..60 {
        pilot.read(&ServerInfo { keys: 10_000, ..info }, Time(2 + round));
        for item in (0..100).map(item) {
            pilot.missing(std::slice::from_ref(&item.name));
            pilot.fill(&item, Time(2 + round));
            pilot.settled(&item, true);
        }
    }
    pilot.sweep = false;
    assert!(pilot.swept());
    pilot.read(&info, Time(100));
    assert!(pilot.steers() && pilot.state().retreats == 0, "{:?}", pilot.state());
}

#[test]
fn what_the_server_evicts_while_we_are_switched_off_or_a_peer_objects_says_nothing_of_us() {
    for objects in [false, true] {
        let room = 500 * VALUE as u64;
        let (mut pilot, info) = steering(room);
        pilot.begins_sweep();
        pilot.swept();
        let full = ServerInfo { used_memory: room, keys: 300, ..info };
        let ours = pilot.directory.as_ref().unwrap().names();
        pilot.read(&full, Time(1));
        let switch = |pilot: &mut Pilot, on: bool, now| match objects {
            true => pilot.greeted(Hello { steers: on, ..peer() }, now),
            false => pilot.switch(on),
        };
        switch(&mut pilot, false, Time(2));
        // Most of ours are gone before the memory is read again; a full server is no pressure of others.
        pilot.missing(&ours[100..]);
        pilot.read(&full, Time(3));
        assert!(!pilot.alone && !pilot.steers());
        for round in 0..60 {
            for item in (0..100).map(item) {
                pilot.missing(std::slice::from_ref(&item.name));
                pilot.fill(&item, Time(4 + round));
                pilot.settled(&item, true);
            }
        }
        switch(&mut pilot, true, Time(100));
        pilot.read(&full, Time(101));
        assert!(pilot.steers() && pilot.state().retreats == 0, "{objects}: {:?}", pilot.state());
    }
}

#[test]
fn what_a_peer_does_not_know_yet_is_not_taken_for_pressure() {
    for knows_all in [true, false] {
        let room = 500 * VALUE as u64;
        let (mut pilot, info) = steering(room);
        pilot.read(&info, Time(0));
        let most = pilot.directory.as_ref().unwrap().used();
        let serves = pilot.hello(None).serves;
        pilot.greeted(Hello { serves, used: most / 10, knows_all, ..peer() }, Time(1));
        assert!(pilot.begins_sweep());
        pilot.swept();
        let gone: Vec<_> = pilot.directory.as_ref().unwrap().names().split_off(100);
        pilot.missing(&gone);
        pilot.read(&ServerInfo { used_memory: room, ..info }, Time(2));
        assert_eq!(pilot.alone, knows_all);
    }
}

#[test]
fn a_server_full_of_others_keys_is_left_alone_until_some_are_ours() {
    let mut pilot = Pilot::new(Steering::default(), 1, 0);
    let full = ServerInfo { used_memory: 1 << 20, maxmemory: 1 << 20, keys: 100, ..ServerInfo::default() };
    pilot.read(&full, Time(0));
    filled(&mut pilot, 0..1);
    assert!(pilot.begins_sweep() && pilot.swept());
    pilot.read(&full, Time(1));
    // While it was not steered the server kept what it liked: what is there is looked for once more, and then it is plain whose the room is.
    assert!(pilot.steers() && pilot.begins_sweep());
    pilot.swept();
    pilot.read(&full, Time(1));
    assert!(!pilot.steers() && !pilot.hello(None).steers);
    // Redis makes room for them.
    filled(&mut pilot, 1..2);
    assert!(!pilot.wants_reading(), "a fill is no reason to ask");
    filled(&mut pilot, 2..500);
    pilot.read(&full, Time(2));
    assert!(pilot.state().used > 500 * VALUE as u64 && !pilot.steers());
    // No more of them for an hour.
    pilot.read(&full, Time(3_601_000_000));
    pilot.read(&full, Time(7_202_000_000));
    assert!(pilot.steers(), "{:?}", pilot.state());
}

/// Who steers beside us, and serves nothing yet.
fn peer() -> Hello {
    Hello { id: 2, used: 0, keys: 0, steers: true, knows_all: true, node: None, serves: [].into() }
}

#[test]
fn a_peer_that_serves_other_namespaces_or_another_database_owns_none_of_our_keys() {
    let mut pilot = Pilot::new(Steering::default(), 1, 0);
    pilot.read(&ServerInfo { maxmemory: 1 << 30, ..ServerInfo::default() }, Time(0));
    filled(&mut pilot, 0..100);
    pilot.greeted(Hello { serves: [served(0, "others"), served(1, "test")].into(), used: 1_000, ..peer() }, Time(1));
    filled(&mut pilot, 100..200);
    assert_eq!((pilot.state().keys, pilot.state().processes, pilot.peers.used()), (200, 2, 1_000));
    assert!(pilot.take_events().is_empty());
    // It meets ours as well.
    pilot.greeted(Hello { serves: [served(0, "test")].into(), ..peer() }, Time(2));
    let left = pilot.state().keys;
    assert!(left > 0 && left < 200, "{left} of 200");
    filled(&mut pilot, 200..300);
    assert!(!pilot.take_events().is_empty());
}
