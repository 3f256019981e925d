//! Whatever comes in whatever order: no panic, no spin, one link and one socket at most, one answer to each question.

use proptest::prelude::*;

use super::{audio::Script, *};

#[derive(Debug, Clone)]
enum Input {
    Connect(u64),
    Disconnect,
    State(Option<u64>, u8),
    Server(Option<u8>),
    Restart,
    SignalFailed,
    Mute(bool),
    Source(u8),
    Opened,
    OpenFailed,
    Closed(Option<u16>),
    Hello,
    Ready,
    Resumed,
    Describe(u8, u16),
    Person(u8),
    Gone(u8),
    Text(String),
    Binary(Vec<u8>),
    UdpOpened,
    UdpFailed,
    Discovered,
    Datagram(Vec<u8>),
    Wait(u16),
}

fn input() -> impl Strategy<Value = Input> {
    let code = prop_oneof![Just(None), (4000u16..4025).prop_map(Some), Just(Some(1006))];
    prop_oneof![
        2 => (901u64..904).prop_map(Input::Connect),
        1 => Just(Input::Disconnect),
        4 => (proptest::option::weighted(0.8, 901u64..904), 0..3u8).prop_map(|(c, s)| Input::State(c, s)),
        4 => proptest::option::weighted(0.8, 0..3u8).prop_map(Input::Server),
        1 => Just(Input::Restart),
        1 => Just(Input::SignalFailed),
        1 => any::<bool>().prop_map(Input::Mute),
        1 => any::<u8>().prop_map(Input::Source),
        6 => Just(Input::Opened),
        1 => Just(Input::OpenFailed),
        3 => code.prop_map(Input::Closed),
        4 => Just(Input::Hello),
        6 => Just(Input::Ready),
        3 => Just(Input::Resumed),
        4 => (1..3u8, 0..16u16).prop_map(|(k, v)| Input::Describe(k, u16::from(v == 0))),
        2 => (1..5u8).prop_map(Input::Person),
        1 => (1..5u8).prop_map(Input::Gone),
        1 => "\\{\"op\":[0-9]{1,2},\"d\":(null|\\{\\}|7|\\{\"ssrc\":1\\})\\}".prop_map(Input::Text),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Input::Binary),
        4 => Just(Input::UdpOpened),
        1 => Just(Input::UdpFailed),
        4 => Just(Input::Discovered),
        1 => proptest::collection::vec(any::<u8>(), 0..100).prop_map(Input::Datagram),
        6 => (0..12_000u16).prop_map(Input::Wait),
    ]
}

impl Rig {
    fn take_input(&mut self, input: Input) {
        let (now, link, udp) = (self.now, self.link, self.udp);
        match input {
            Input::Connect(id) => self.session.connect(now, channel(id)),
            Input::Disconnect => self.session.disconnect(now),
            Input::State(channel, session) => self.state(channel, &session.to_string()),
            Input::Server(token) => {
                let endpoint = token.map(|token| format!("{token}.test"));
                self.server(endpoint.as_deref(), "token");
            }
            Input::Restart => self.session.gateway_restarted(now),
            Input::SignalFailed => self.session.signal_failed(now),
            Input::Mute(mute) => self.session.set_self(now, mute, false),
            Input::Source(frames) => {
                let script = Script::default();
                script.say(0..frames).end();
                self.session.set_source(now, script.source());
            }
            Input::Person(user) => {
                let text =
                    json!({"op": 5, "seq": 1, "d": {"user_id": user, "ssrc": user, "speaking": 1}});
                self.say(&text.to_string());
            }
            Input::Gone(user) => self.say(&json!({"op": 13, "d": {"user_id": user}}).to_string()),
            Input::Hello => self.say(HELLO),
            Input::Resumed => self.say(RESUMED),
            Input::Text(text) => self.say(&text),
            Input::Wait(ms) => self.pass_ms(ms.into()),
            _ if link.is_none() => {}
            Input::Opened => self.open(),
            Input::OpenFailed if self.is_open => {}
            Input::OpenFailed => {
                let link = self.link.take().unwrap();
                self.session.link_failed(now, link, "refused");
            }
            Input::Closed(code) => self.cut(code),
            Input::Ready => self.ready(),
            Input::Describe(key, version) => self.describe_version(key, version),
            Input::Binary(bytes) => self.session.link_binary(now, self.link(), &bytes),
            _ if udp.is_none() => {}
            Input::UdpOpened => self.open_udp(),
            Input::UdpFailed => self.session.udp_failed(now, self.udp.unwrap()),
            Input::Discovered => self.discovered(),
            Input::Datagram(mut bytes) => self.datagram(&mut bytes),
        }
        self.listen();
    }

    fn say(&mut self, text: &str) {
        if self.link.is_some() {
            self.text(text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_anything(inputs in proptest::collection::vec(input(), 1..120)) {
        let mut config = config();
        config.rejoin = inputs.len() % 2 == 0;
        config.receive = inputs.len() % 3 == 0;
        let mut rig = Rig::new(config);
        // What is sent is not opened here: the keys change under it.
        rig.lenient = true;
        let (mut asked, mut left) = (0, 0);
        for input in inputs {
            asked += usize::from(matches!(input, Input::Connect(_)));
            left += usize::from(matches!(input, Input::Disconnect));
            rig.take_input(input);
            prop_assert!(rig.session.actions.is_empty());
            prop_assert!(rig.session.connection.media.is_none() || rig.udp.is_some());
            if rig.session.state() == ConnectionState::Disconnected {
                prop_assert!(rig.link.is_none() && rig.udp.is_none(), "nothing is left behind");
            }
        }
        // In the end all is answered, and nothing is left that would wake up.
        rig.session.disconnect(rig.now);
        rig.session.set_source(rig.now, None);
        rig.listen();
        rig.pass_ms(60_000);
        prop_assert_eq!(rig.connects().len(), asked);
        prop_assert_eq!(rig.disconnects(), left + 1);
        prop_assert_eq!(rig.session.state(), ConnectionState::Disconnected);
        prop_assert_eq!(rig.session.poll_timeout(), None);
        prop_assert!(rig.link.is_none() && rig.udp.is_none());
    }
}
