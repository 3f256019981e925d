//! Tracks, their order, their controls and their events: on Opus alone, so with and without
//! libopus.

use std::{future::Future, time::Duration};

use spellcoven_discord_voice::{
    AudioSource, Input, InputError, NextFrame, OggOpus, OpusFrames, Player, PlayerHandle, Produced,
    Repeat, Track, TrackEnd, TrackEventKind, TrackEvents, TrackHandle, TrackState,
};

use crate::audio_support::{Ogg, frames, number, numbered};

fn player() -> (Player, PlayerHandle) {
    #[cfg(feature = "opus")]
    return Player::new(spellcoven_discord_voice::EncoderConfig::default());
    #[cfg(not(feature = "opus"))]
    return Player::passthrough();
}

fn track(count: u32) -> Track {
    Track::new(OpusFrames::new(numbered(count)))
}

fn numbers(player: &mut Player, at_most: usize) -> Vec<u32> {
    frames(player, at_most).iter().map(number).collect()
}

/// What happened since, as words.
fn told(events: &mut TrackEvents) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(event) = events.try_next() {
        let what = match event.kind {
            TrackEventKind::Ended { reason } => format!("{reason:?}"),
            TrackEventKind::Error { error } => format!("{error}"),
            kind => format!("{kind:?}"),
        };
        all.push(format!("{} {what}", event.track.name().unwrap_or("?")));
    }
    all
}

#[test]
fn a_track_is_passed_through_and_tells_what_happens() {
    let (mut player, handle) = player();
    let mut events = handle.events();
    assert_eq!(player.next_frame(), NextFrame::Idle);
    let track = handle.play(track(10).name("a")).unwrap();
    assert_eq!(track.state(), TrackState::Queued);
    assert_eq!(track.duration(), Some(Duration::from_millis(200)));
    assert_eq!(numbers(&mut player, 4), [0, 1, 2, 3]);
    assert_eq!(track.position(), Duration::from_millis(80));
    assert_eq!(track.state(), TrackState::Playing);
    track.pause();
    assert_eq!(player.next_frame(), NextFrame::Idle);
    assert_eq!(player.next_frame(), NextFrame::Idle);
    assert_eq!(track.state(), TrackState::Paused);
    track.play();
    assert_eq!(numbers(&mut player, 99), [4, 5, 6, 7, 8, 9]);
    assert_eq!(track.state(), TrackState::Ended);
    assert_eq!(track.position(), Duration::from_millis(200));
    assert_eq!(
        told(&mut events),
        ["a Started", "a Paused", "a Resumed", "a Finished"]
    );
    drop(handle);
    assert_eq!(player.next_frame(), NextFrame::End);
}

#[test]
fn what_is_stopped_stays_stopped() {
    let (mut player, handle) = player();
    let mut events = handle.events();
    let track = handle.play(track(10).name("a")).unwrap();
    numbers(&mut player, 2);
    track.stop();
    track.play();
    assert_eq!(player.next_frame(), NextFrame::Idle);
    assert_eq!(track.state(), TrackState::Ended);
    assert_eq!(told(&mut events), ["a Started", "a Stopped"]);
    assert!(handle.tracks().is_empty());
}

#[test]
fn seeks_are_exact_to_20_ms() {
    let file = Ogg::default().write(&numbered(500));
    let inputs: [Box<dyn Input>; 2] = [
        Box::new(OpusFrames::new(numbered(500))),
        Box::new(OggOpus::from_bytes(file).unwrap()),
    ];
    for input in inputs {
        let (mut player, handle) = player();
        let track = handle.play(Track::new(input)).unwrap();
        numbers(&mut player, 3);
        for ms in [8_000u64, 0, 9_980, 4_020, 4_039] {
            track.seek(Duration::from_millis(ms));
            let got = numbers(&mut player, 1);
            assert_eq!(got, [(ms / 20) as u32], "at {ms} ms");
            let position = track.position().as_millis() as u64;
            assert!(
                (ms + 1..=ms / 20 * 20 + 40).contains(&position),
                "{ms}: {position}"
            );
        }
        track.seek(Duration::from_secs(3600));
        assert_eq!(player.next_frame(), NextFrame::Idle);
        assert_eq!(track.state(), TrackState::Ended);
    }
}

#[test]
fn repeats_are_counted_and_leave_no_gap() {
    let (mut player, handle) = player();
    let mut events = handle.events();
    let track = handle
        .play(track(3).name("a").repeat(Repeat::Times(2)))
        .unwrap();
    assert_eq!(numbers(&mut player, 99), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    assert_eq!(track.repeat(), Repeat::Off);
    assert_eq!(
        told(&mut events),
        ["a Started", "a Looped", "a Looped", "a Finished"]
    );
    let track = handle.play(self::track(2).repeat(Repeat::Forever)).unwrap();
    assert_eq!(numbers(&mut player, 1000).len(), 1000);
    assert_eq!(track.repeat(), Repeat::Forever);
    track.set_repeat(Repeat::Off);
    assert!(numbers(&mut player, 9).len() <= 2);
    // What is empty, or cannot go back, does not repeat for ever.
    handle
        .play(Track::new(OpusFrames::new(vec![])).repeat(Repeat::Forever))
        .unwrap();
    assert_eq!(player.next_frame(), NextFrame::Idle);
    told(&mut events);
    let once = Track::new(OpusFrames::iter(numbered(1))).name("once");
    handle.play(once.repeat(Repeat::Forever)).unwrap();
    assert_eq!(numbers(&mut player, 9), [0]);
    let unseekable = InputError::Unseekable.to_string();
    assert_eq!(
        told(&mut events),
        [
            "once Started".into(),
            format!("once {unseekable}"),
            "once Failed".into()
        ]
    );
}

#[test]
fn the_queue_plays_one_after_the_other_without_a_gap() {
    let (mut player, handle) = player();
    let mut events = handle.events();
    let names = ["a", "b", "c", "d", "e"];
    let tracks = names.map(|name| handle.enqueue(track(3).name(name)).unwrap());
    fn names_of(tracks: &[TrackHandle]) -> Vec<&str> {
        tracks.iter().filter_map(TrackHandle::name).collect()
    }
    assert_eq!(names_of(&handle.queue()), names);
    assert!(handle.current().is_none());
    assert_eq!(numbers(&mut player, 4), [0, 1, 2, 0]);
    assert!(handle.current().unwrap().is(&tracks[1]));
    assert_eq!(names_of(&handle.queue()), ["c", "d", "e"]);
    handle.skip();
    assert_eq!(numbers(&mut player, 1), [0]);
    assert_eq!(handle.current().unwrap().name(), Some("c"));
    tracks[3].stop();
    assert_eq!(names_of(&handle.queue()), ["e"]);
    assert_eq!(numbers(&mut player, 3), [1, 2, 0]);
    assert_eq!(handle.current().unwrap().name(), Some("e"));
    handle.enqueue(track(1).name("f")).unwrap();
    handle.clear_queue();
    assert_eq!(numbers(&mut player, 99), [1, 2]);
    assert!(handle.current().is_none() && handle.queue().is_empty());
    let ends: Vec<String> = told(&mut events)
        .into_iter()
        .filter(|line| !line.ends_with("Started"))
        .collect();
    assert_eq!(
        ends,
        [
            "a Finished",
            "b Stopped",
            "d Stopped",
            "c Finished",
            "f Stopped",
            "e Finished"
        ]
    );
}

#[test]
fn an_input_that_fails_ends_its_track_and_no_other() {
    struct Broken(u32);
    impl Input for Broken {
        fn read(&mut self, _: &mut Vec<f32>) -> Result<Produced, InputError> {
            self.0 += 1;
            match self.0 {
                1 => Ok(Produced::Opus(numbered(1)[0].clone().into())),
                2 => Ok(Produced::Starved),
                _ => Err(InputError::Damaged("of the test")),
            }
        }
    }
    let (mut player, handle) = player();
    let mut events = handle.events();
    handle
        .enqueue(Track::new(Broken(0)).name("broken"))
        .unwrap();
    let next = handle.enqueue(track(1).name("next")).unwrap();
    assert_eq!(numbers(&mut player, 9), [0]);
    next.seek(Duration::from_millis(1));
    assert_eq!(numbers(&mut player, 9), [0]);
    let error = InputError::Damaged("of the test").to_string();
    assert_eq!(
        told(&mut events),
        [
            "broken Started".into(),
            format!("broken {error}"),
            "broken Failed".into(),
            "next Started".into(),
            "next Finished".to_owned(),
        ]
    );
    // An order that an input cannot follow is told, and the track plays on.
    let once = handle
        .play(Track::new(OpusFrames::iter(numbered(4))).name("once"))
        .unwrap();
    numbers(&mut player, 1);
    once.seek(Duration::ZERO);
    assert_eq!(numbers(&mut player, 9), [1, 2, 3]);
    let unseekable = InputError::Unseekable.to_string();
    assert_eq!(
        told(&mut events),
        [
            "once Started".into(),
            format!("once {unseekable}"),
            "once Finished".into()
        ]
    );
}

#[test]
fn there_are_bounds() {
    let (mut player, handle) = player();
    for _ in 0..32 {
        handle.play(track(1).paused()).unwrap();
    }
    assert!(handle.play(track(1)).is_err());
    player.next_frame();
    assert!(handle.play(track(1)).is_err());
    assert_eq!(handle.tracks().len(), 32);
    handle.stop_all();
    player.next_frame();
    player.next_frame();
    handle.play(track(1)).unwrap();
    for _ in 0..1024 {
        handle.enqueue(track(1)).unwrap();
    }
    assert!(handle.enqueue(track(1)).is_err());
    // Nobody takes the events of a thousand tracks: the newest are kept.
    let events = handle.events();
    numbers(&mut player, 2000);
    assert!(events.missed() > 1000, "{}", events.missed());
}

#[test]
fn a_player_that_is_dropped_ends_its_tracks_and_events() {
    let (mut player, handle) = player();
    let mut events = handle.events();
    let playing = handle.enqueue(track(9).name("a")).unwrap();
    let waiting = handle.enqueue(track(9).name("b")).unwrap();
    numbers(&mut player, 2);
    drop(player);
    assert_eq!(playing.state(), TrackState::Ended);
    assert_eq!(waiting.state(), TrackState::Ended);
    assert_eq!(told(&mut events), ["a Started", "a Stopped", "b Stopped"]);
    assert_eq!(TrackEnd::Stopped, TrackEnd::Stopped);
    let next = futures_util::StreamExt::next(&mut events);
    let polled = std::pin::pin!(next);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(matches!(
        Future::poll(polled, &mut context),
        std::task::Poll::Ready(None)
    ));
}

#[test]
fn without_handles_what_is_there_is_played_to_its_end() {
    let (mut player, handle) = player();
    handle.play(track(2)).unwrap();
    handle.enqueue(track(1)).unwrap();
    drop(handle);
    let mut count = 0;
    for _ in 0..20 {
        match player.next_frame() {
            NextFrame::Frame(_) => count += 1,
            NextFrame::Idle => {}
            NextFrame::End => break,
        }
    }
    assert!(count >= 2);
    assert_eq!(player.next_frame(), NextFrame::End);
}
