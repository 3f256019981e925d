use std::{sync::Arc, time::Duration};

use spellcoven_discord_gateway::{IdentifyQueue as _, InMemoryIdentifyQueue, SessionStartLimit};
use tokio::time::Instant;

fn limit(remaining: u32, max_concurrency: u32) -> SessionStartLimit {
    SessionStartLimit {
        total: 1000,
        remaining,
        reset_after: Duration::from_secs(3600),
        max_concurrency,
    }
}

#[tokio::test(start_paused = true)]
async fn one_key_has_a_turn_every_five_seconds_in_order() {
    let queue = Arc::new(InMemoryIdentifyQueue::new(limit(1000, 2)));
    let start = Instant::now();
    let tasks: Vec<_> = (0..6u32)
        .map(|shard| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                queue.acquire(shard).await;
                Instant::now() - start
            })
        })
        .collect();
    let mut seconds = Vec::new();
    for task in tasks {
        seconds.push(task.await.unwrap().as_secs_f64().round() as u64);
    }
    // Keys 0 and 1 do not wait for each other.
    assert_eq!(seconds, [0, 0, 5, 5, 10, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_given_up_goes_to_the_next() {
    let queue = InMemoryIdentifyQueue::new(limit(1000, 1));
    queue.acquire(0).await;
    let start = Instant::now();
    {
        let first = queue.acquire(1);
        let second = queue.acquire(2);
        tokio::pin!(second);
        tokio::select! {
            biased;
            () = first => panic!("five seconds have not passed"),
            () = &mut second => panic!("it stands second"),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    queue.acquire(3).await;
    assert_eq!((Instant::now() - start).as_secs(), 5);
    assert_eq!(
        queue.remaining(),
        988,
        "only turns that were taken are counted"
    );
}

#[tokio::test(start_paused = true)]
async fn at_the_reserve_it_waits_for_the_reset() {
    let queue = InMemoryIdentifyQueue::new(limit(12, 1));
    assert_eq!(
        queue.remaining(),
        2,
        "one in a hundred of 1000 is never spent"
    );
    let start = Instant::now();
    queue.acquire(0).await;
    queue.acquire(0).await;
    assert_eq!(queue.remaining(), 0);
    queue.acquire(0).await;
    assert_eq!((Instant::now() - start).as_secs(), 3600);
    assert_eq!(queue.remaining(), 989);
}

#[tokio::test(start_paused = true)]
async fn with_nothing_remaining_nobody_identifies_until_the_reset() {
    let queue = InMemoryIdentifyQueue::new(limit(0, 1)).reserve(0);
    let start = Instant::now();
    queue.acquire(0).await;
    assert_eq!((Instant::now() - start).as_secs(), 3600);
}

#[tokio::test(start_paused = true)]
async fn news_of_the_limit_reach_who_waits() {
    let queue = Arc::new(InMemoryIdentifyQueue::new(limit(0, 1)));
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.acquire(0).await }
    });
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs(90)).await;
    queue.update(limit(1000, 1));
    waiting.await.unwrap();
    assert!(Instant::now() - start <= Duration::from_secs(150));
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_of_zero_is_one() {
    let queue = InMemoryIdentifyQueue::new(limit(1000, 0));
    queue.acquire(5).await;
}
