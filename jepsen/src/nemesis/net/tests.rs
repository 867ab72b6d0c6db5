//! Each fault by itself, on real namespaces. Who hears whom is asked with datagrams: no retries hide a loss.

use super::*;
use crate::nemesis::{grudge, tag, unable};
use std::net::UdpSocket;
use std::time::Duration;

const PORT: u16 = 7_777;

/// A network and, in each place, a socket that listens.
struct Scene {
    network: Network,
    sockets: BTreeMap<IpAddr, UdpSocket>,
}

impl Scene {
    fn new(count: u64) -> Option<Scene> {
        if let Some(why) = unable() {
            eprintln!("skipped: {why}");
            return None;
        }
        tag::sweep().expect("the machine can be swept");
        let network = Network::create(&Tag::new(), count).expect("made");
        let places: Vec<Place> =
            network.nodes.values().chain([&network.clients]).cloned().collect();
        let bind = |place: Place| {
            // On a thread of its own: this one stays where it is.
            let bound = std::thread::spawn(move || {
                place.enter().expect("entered");
                let socket = UdpSocket::bind((place.address, PORT)).expect("bound");
                socket.set_read_timeout(Some(Duration::from_millis(200))).expect("set");
                (place.address, socket)
            });
            bound.join().expect("bound")
        };
        let sockets = places.into_iter().map(bind).collect();
        Some(Scene { network, sockets })
    }

    fn node(&self, number: u64) -> IpAddr {
        self.network.place(id(number)).address
    }

    /// How many of so many datagrams arrive.
    fn arrive(&self, from: IpAddr, to: IpAddr, count: u32) -> u32 {
        let (sender, receiver) = (&self.sockets[&from], &self.sockets[&to]);
        let mut arrived = 0;
        let mut buffer = [0; 8];
        for number in 0..count {
            sender.send_to(&number.to_le_bytes(), (to, PORT)).expect("sent");
            // Cables are emptied as they are filled: nothing is lost for want of room.
            if number % 16 == 15 || number + 1 == count {
                while receiver.recv_from(&mut buffer).is_ok() {
                    arrived += 1;
                    if arrived == number + 1 {
                        break;
                    }
                }
            }
        }
        arrived
    }

    /// Who hears whom among the nodes: `12` is node 2 hearing node 1.
    fn heard(&self) -> String {
        let nodes = self.network.nodes();
        let mut heard = Vec::new();
        for from in &nodes {
            for to in &nodes {
                let (one, other) = (self.node(from.get()), self.node(to.get()));
                if from != to && self.arrive(one, other, 1) == 1 {
                    heard.push(format!("{}{}", from.get(), to.get()));
                }
            }
        }
        heard.join(" ")
    }
}

fn id(number: u64) -> NodeId {
    NodeId::new(number).expect("from 1")
}

#[test]
fn every_shape_of_partition_cuts_what_it_says_and_heals() {
    let Some(mut scene) = Scene::new(3) else { return };
    let nodes = scene.network.nodes();
    let all = "12 13 21 23 31 32";
    assert_eq!(scene.heard(), all);
    let shapes = [
        (grudge::isolate(&nodes, id(1)), "23 32"),
        (grudge::halves(&nodes), "23 32"),
        (grudge::bridge(&nodes), "12 21 23 32"),
        // Each deaf to its successor.
        (grudge::majorities_ring(&nodes), "12 23 31"),
        (grudge::one_way(id(2), id(1)), "13 21 23 31 32"),
        (grudge::deaf(&nodes, id(3)), "12 21 31 32"),
    ];
    for (shape, heard) in shapes {
        scene.network.cut(&shape).expect("cut");
        assert_eq!(scene.heard(), heard, "{}", shape.words());
        // Clients reach every node whatever nodes do to each other.
        let clients = scene.network.clients().address;
        assert_eq!(scene.arrive(clients, scene.node(1), 1), 1);
    }
    assert!(scene.network.dropped(id(3)).expect("counted") >= 2);
    scene.network.heal().expect("healed");
    assert_eq!(scene.heard(), all);
}

#[test]
fn clients_can_be_cut_off_and_a_cable_can_be_pulled() {
    let Some(mut scene) = Scene::new(2) else { return };
    let clients = scene.network.clients().address;
    let (one, two) = (scene.node(1), scene.node(2));
    scene.network.cut_clients(&BTreeSet::from([id(1)])).expect("cut");
    assert_eq!((scene.arrive(clients, one, 1), scene.arrive(clients, two, 1)), (0, 1));
    assert_eq!(scene.arrive(two, one, 1), 1, "nodes still talk");
    scene.network.plug(id(2), false).expect("pulled");
    assert_eq!((scene.arrive(one, two, 1), scene.arrive(two, one, 1)), (0, 0));
    scene.network.heal().expect("healed");
    // A switch takes a while to learn that a port is back.
    let back =
        (0..50).any(|_| scene.arrive(one, two, 1) == 1 && scene.arrive(clients, one, 1) == 1);
    assert!(back);
}

#[test]
fn a_part_of_all_packets_is_lost_and_no_more() {
    let Some(mut scene) = Scene::new(2) else { return };
    let (one, two) = (scene.node(1), scene.node(2));
    scene.network.lose(500).expect("lossy");
    let half = scene.arrive(one, two, 192);
    assert!((60..=132).contains(&half), "{half} of 192");
    scene.network.lose(1_000).expect("all lost");
    assert_eq!(scene.arrive(one, two, 4), 0);
    scene.network.heal().expect("healed");
    assert_eq!(scene.arrive(one, two, 64), 64);
}

#[test]
fn a_slow_cable_takes_its_time() {
    let Some(mut scene) = Scene::new(2) else { return };
    let (one, two) = (scene.node(1), scene.node(2));
    scene.network.limit(id(1), 256).expect("slow");
    // 48 KiB at 256 kbit/s, 16 KiB of them at once: a second and more.
    let begun = std::time::Instant::now();
    let block = [7; 1_024];
    let mut buffer = [0; 2_048];
    let mut arrived = 0;
    for _ in 0..6 {
        for _ in 0..8 {
            scene.sockets[&one].send_to(&block, (two, PORT)).expect("sent");
        }
        while scene.sockets[&two].recv_from(&mut buffer).is_ok() {
            arrived += 1;
        }
    }
    assert!(arrived >= 24, "{arrived} arrived");
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    scene.network.heal().expect("healed");
    assert_eq!(scene.arrive(one, two, 64), 64);
}

#[test]
fn nothing_is_left_of_a_network_that_is_gone() {
    let Some(scene) = Scene::new(1) else { return };
    let namespace = format!("{NAMESPACES}/{}", scene.network.hub.namespace);
    assert!(std::path::Path::new(&namespace).exists());
    let output = scene.network.place(id(1)).command("ip").args(["-o", "addr"]).output();
    let output = String::from_utf8(output.expect("runs").stdout).expect("text");
    assert!(output.contains("10.77.0.1/24"), "{output}");
    drop(scene);
    assert!(!std::path::Path::new(&namespace).exists());
}
