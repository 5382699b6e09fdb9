//! What a query's future awaits in the testbed on request, and in which tasks and runtimes: each plant's own account of
//! it, against the calls and the time of the queries.

use std::time::{Duration, Instant};

use crate::testbed::{Series, connect, growth, options, scrape, sqlstate, start};
use wireprof::testbed::{Options, Testbed};

/// Calls, and mean wait in s, of a label of plants.
fn waits_of(before: &Series, after: &Series, plant: &str) -> (f64, f64) {
    let series = |what: &str| format!("wireprof_plant_{what}_total{{plant=\"{plant}\"}}");
    let calls = growth(before, after, &series("calls"));
    (calls, growth(before, after, &series("wait_seconds")) / calls)
}

#[tokio::test]
async fn each_planted_wait_is_awaited_once_a_query_for_at_least_what_was_asked_within_the_querys_time() {
    let asked = [("channel", 300e-6), ("join", 300e-6), ("select", 300e-6), ("timer", 2e-3), ("channel:cpu", 0.0)];
    let held = [("semaphore", 300e-6), ("mutex", 300e-6), ("std-mutex", 300e-6)];
    let plants = ["channel=300us", "join=300us", "select=300us", "timer=2ms", "channel:cpu=100us"];
    let plants = plants.into_iter().chain(["semaphore:2=300us", "mutex=300us", "std-mutex=300us"]);
    let arguments = vec!["--frontend-peek".into()];
    let plants = plants.map(str::to_owned).collect();
    let Some(testbed) = start(&Options { plants, arguments, ..options() }) else { return };
    let client = connect(&testbed.ready.sql).await;
    let (before, started) = (scrape(&testbed).await, Instant::now());
    for _ in 0..100 {
        client.simple_query("select * from t").await.unwrap();
    }
    let (took, after) = (started.elapsed().as_secs_f64(), scrape(&testbed).await);
    let mut total = 0.0;
    for (plant, asked) in asked.into_iter().chain(held.map(|(plant, _)| (plant, 0.0))) {
        let (calls, each) = waits_of(&before, &after, plant);
        assert_eq!(calls, 100.0, "{plant}");
        assert!(each >= asked, "{plant}: {each} s each, {asked} s asked");
        total += calls * each;
    }
    for (plant, asked) in held {
        let (calls, each) = waits_of(&before, &after, &format!("{plant}:hold"));
        assert!(calls == 100.0 && each >= asked, "{plant} held {calls} times, {each} s each, {asked} s asked");
        total += calls * each;
    }
    assert!(total < took, "the plants say {total} s, the queries took {took} s");
    let cpu = growth(&before, &after, "wireprof_plant_cpu_seconds_total{plant=\"channel:cpu\"}") / 100.0;
    assert!((50e-6..200e-6).contains(&cpu), "{cpu} s of CPU each, 100 us asked");
}

/// `queries` of each of so many clients at once; returns the scrapes before and after.
async fn at_once(testbed: &Testbed, clients: usize, queries: usize) -> (Series, Series) {
    let mut connected = Vec::new();
    for _ in 0..clients {
        connected.push(connect(&testbed.ready.sql).await);
    }
    let before = scrape(testbed).await;
    let load = connected.into_iter().map(|client| async move {
        for _ in 0..queries {
            client.simple_query("select * from t").await.unwrap();
        }
    });
    futures::future::join_all(load).await;
    (before, scrape(testbed).await)
}

#[tokio::test]
async fn what_is_held_or_answered_one_by_one_is_waited_for_by_many_clients() {
    // With eight clients four wait for each that goes on, or more.
    for (plant, least) in [("channel", 8e-3), ("semaphore:2", 2e-3), ("mutex", 4e-3), ("std-mutex", 0.5e-3)] {
        let plants = vec![format!("{plant}=2ms")];
        let arguments = vec!["--frontend-peek".into(), "--worker-threads=4".into()];
        let Some(testbed) = start(&Options { plants, arguments, ..options() }) else { return };
        let (before, after) = at_once(&testbed, 8, 25).await;
        let name = plant.split(':').next().unwrap();
        let (calls, each) = waits_of(&before, &after, name);
        assert_eq!(calls, 200.0, "{plant}");
        assert!(each >= least, "{plant}: {each} s each, at least {least} s expected");
        if plant != "channel" {
            let (calls, held) = waits_of(&before, &after, &format!("{name}:hold"));
            assert!(calls == 200.0 && held >= 2e-3, "{plant} held {calls} times, {held} s each");
        }
    }
}

#[tokio::test]
async fn behind_a_hog_a_query_that_was_woken_waits_for_its_worker_thread() {
    let arguments = vec!["--frontend-peek".into(), "--worker-threads=1".into()];
    let Some(testbed) = start(&Options { plants: vec!["hog=5ms".to_owned()], arguments, ..options() }) else { return };
    let (before, after) = at_once(&testbed, 1, 25).await;
    let (calls, each) = waits_of(&before, &after, "hog");
    let cpu = growth(&before, &after, "wireprof_plant_cpu_seconds_total{plant=\"hog\"}");
    assert_eq!(calls, 25.0);
    // It is woken soon after the hog has begun anew.
    assert!(each > 2.5e-3, "{each} s waited by each query");
    assert!(cpu > 25.0 * 2.5e-3, "{cpu} s computed");
}

/// Tasks of the runtime while one query sleeps in it, beyond those that are there without a query.
async fn tasks_of_a_query(arguments: &[&str]) -> Option<f64> {
    let arguments = ["--frontend-peek"].iter().chain(arguments).map(Into::into).collect();
    let testbed = start(&Options { plants: vec!["timer=400ms".to_owned()], arguments, ..options() })?;
    let client = connect(&testbed.ready.sql).await;
    client.simple_query("select * from t").await.unwrap();
    let alive = "mz_tokio_num_alive_tasks{runtime=\"main\"}";
    let before = scrape(&testbed).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let query = tokio::spawn(async move { client.simple_query("select * from t").await.unwrap().len() });
    tokio::time::sleep(Duration::from_millis(150)).await;
    let tasks = growth(&before, &scrape(&testbed).await, alive);
    assert!(!query.is_finished(), "the query ended before it was looked at");
    assert!(query.await.unwrap() > 1);
    Some(tasks)
}

#[tokio::test]
async fn a_query_has_a_task_of_its_own_where_that_was_asked_for() {
    for runtime in ["multi-thread", "current-thread"] {
        let runtime = format!("--runtime={runtime}");
        let Some(without) = tasks_of_a_query(&[&runtime]).await else { return };
        assert_eq!((without, tasks_of_a_query(&[&runtime, "--task-per-query"]).await), (0.0, Some(1.0)), "{runtime}");
    }
}

#[tokio::test]
async fn on_one_thread_and_in_tasks_queries_are_answered_and_counted_as_otherwise() {
    let plants = ["channel=300us", "mutex=300us", "std-mutex=300us", "join=300us", "hog=1ms"];
    for arguments in [vec!["--runtime=current-thread"], vec!["--runtime=current-thread", "--task-per-query"]] {
        let arguments = ["--frontend-peek"].iter().chain(&arguments).map(Into::into).collect();
        let plants = plants.map(str::to_owned).to_vec();
        let Some(testbed) = start(&Options { plants, arguments, ..options() }) else { return };
        let (before, after) = at_once(&testbed, 4, 10).await;
        assert_eq!(after["mz_tokio_num_workers{runtime=\"main\"}"], 1.0);
        for plant in ["channel", "mutex", "mutex:hold", "std-mutex", "std-mutex:hold", "join", "hog"] {
            assert_eq!(waits_of(&before, &after, plant).0, 40.0, "{plant}");
        }
        for plant in ["channel", "mutex:hold", "std-mutex:hold", "join"] {
            let each = waits_of(&before, &after, plant).1;
            assert!(each >= 300e-6, "{plant}: {each} s each");
        }
        let client = connect(&testbed.ready.sql).await;
        let missing = client.query("select * from missing", &[]).await.unwrap_err();
        assert_eq!(sqlstate(&missing), "42P01");
        let denied = client.batch_execute("alter system set enable_frontend_peek_sequencing = true").await;
        assert_eq!(sqlstate(&denied.unwrap_err()), "42501");
        assert_eq!(client.query("select * from t", &[]).await.unwrap().len(), 1);
    }
}
