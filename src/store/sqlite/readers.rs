//! A few threads that read, each with a connection that cannot write.
//!
//! Threads of its own and not the runtime's blocking ones: the store runs inside another program's
//! runtime, and a slow disk must not use up what that program needs.

use crate::store::error::{OpenError, StoreError};
use parking_lot::Mutex;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// One question; it sends its own answer.
type Question = Box<dyn FnOnce(&Connection) + Send>;

/// The way to the reading threads.
#[derive(Debug)]
pub(crate) struct Readers {
    questions: Option<mpsc::Sender<Question>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts one thread a connection; at most `waiting` questions are kept waiting.
    ///
    /// # Errors
    /// [`OpenError::Thread`].
    pub(crate) fn start(connections: Vec<Connection>, waiting: usize) -> Result<Self, OpenError> {
        let (questions, queue) = mpsc::channel(waiting);
        let queue = Arc::new(Mutex::new(queue));
        let mut readers = Self { questions: Some(questions), threads: Vec::new() };
        for conn in connections {
            let queue = Arc::clone(&queue);
            let thread = std::thread::Builder::new()
                .name("store-reader".into())
                .spawn(move || run(&conn, &queue))
                .map_err(OpenError::Thread)?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Asks the database.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too much waits, [`StoreError::Failed`] when there is no answer.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |conn| match question(conn) {
            Ok(found) => {
                let _ = answer.send(found);
            }
            Err(error) => tracing::error!(%error, "a read failed"),
        });
        let questions = self.questions.as_ref().ok_or(StoreError::Failed)?;
        questions.try_send(question).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Failed,
        })?;
        answered.await.map_err(|_| StoreError::Failed)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.questions = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run(conn: &Connection, queue: &Mutex<mpsc::Receiver<Question>>) {
    loop {
        // The lock is held while waiting: one thread waits for a question, the others for the lock.
        let next = queue.lock().blocking_recv();
        let Some(question) = next else { return };
        // One bad question must not cost a thread; its caller is told by the dropped answer.
        if catch_unwind(AssertUnwindSafe(|| question(conn))).is_err() {
            tracing::error!("a read panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::is_waiting;

    fn connections(count: usize) -> Vec<Connection> {
        (0..count).map(|_| Connection::open_in_memory().unwrap()).collect()
    }

    fn one(conn: &Connection) -> rusqlite::Result<i64> {
        conn.query_row("SELECT 1", [], |row| row.get(0))
    }

    #[tokio::test]
    async fn a_bad_question_costs_neither_its_thread_nor_the_next_question() {
        let readers = Readers::start(connections(1), 8).unwrap();
        let failed = readers.ask(|conn| conn.query_row("SELECT * FROM nowhere", [], |_| Ok(()))).await;
        assert_eq!(failed, Err(StoreError::Failed));
        let panicked = readers.ask(|_| -> rusqlite::Result<()> { panic!("on purpose") }).await;
        assert_eq!(panicked, Err(StoreError::Failed));
        assert_eq!(readers.ask(one).await, Ok(1));
    }

    #[tokio::test]
    async fn threads_work_side_by_side_and_a_full_queue_is_busy() {
        let readers = Readers::start(connections(2), 1).unwrap();
        let meeting = Arc::new(std::sync::Barrier::new(3));
        let meet = || {
            let meeting = Arc::clone(&meeting);
            move |_: &Connection| {
                meeting.wait();
                meeting.wait();
                Ok(())
            }
        };
        let (a, b) = (readers.ask(meet()), readers.ask(meet()));
        tokio::pin!(a, b);
        assert!(is_waiting(&mut a).await);
        // The queue holds one, so the second is asked until the first was taken up.
        let b = async {
            loop {
                match b.as_mut().await {
                    Err(StoreError::Busy) => b.set(readers.ask(meet())),
                    other => return other,
                }
                tokio::task::yield_now().await;
            }
        };
        let rest = async {
            let both = Arc::clone(&meeting);
            tokio::task::spawn_blocking(move || both.wait()).await.unwrap();
            let waiting = readers.ask(one);
            tokio::pin!(waiting);
            assert!(is_waiting(&mut waiting).await);
            assert_eq!(readers.ask(one).await, Err(StoreError::Busy));
            meeting.wait();
            waiting.await
        };
        let (a, b, waited) = tokio::join!(a, b, rest);
        assert_eq!((a, b, waited), (Ok(()), Ok(()), Ok(1)));
    }
}
