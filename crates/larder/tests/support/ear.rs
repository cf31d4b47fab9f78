//! An observer that remembers, and can be waited on.

use std::future::Future;
use std::sync::{Arc, Mutex};

use larder::observe::{Event, Observer};
use tokio::sync::watch;

use super::soon;

/// An event, kept: its name, and its text with all fields.
#[derive(Clone, Debug)]
pub struct Heard(pub String);

#[derive(Clone)]
pub struct Ear {
    heard: Arc<Mutex<Vec<Heard>>>,
    count: watch::Sender<usize>,
}

impl Default for Ear {
    fn default() -> Ear {
        Ear { heard: Arc::default(), count: watch::Sender::new(0) }
    }
}

impl Observer for Ear {
    fn event(&self, event: &Event<'_>) {
        if matches!(event, Event::Lag { .. }) {
            return;
        }
        self.heard.lock().unwrap().push(Heard(format!("{event:?}")));
        self.count.send_modify(|count| *count += 1);
    }
}

impl Ear {
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(self.clone())
    }

    /// How many events so far have `part` in their text: `"Woken"`, `"by: Push"`.
    pub fn count(&self, part: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|heard| heard.0.contains(part)).count()
    }

    /// Waits until as many have been heard.
    pub async fn hears(&self, part: &str, times: usize) {
        let mut count = self.count.subscribe();
        let waiting = async {
            while self.count(part) < times {
                count.changed().await.unwrap();
            }
        };
        soon(&format!("{times} x {part}, heard {:?}", self.all()), waiting).await;
    }

    pub fn all(&self) -> Vec<String> {
        self.heard.lock().unwrap().iter().map(|heard| heard.0.clone()).collect()
    }
}
