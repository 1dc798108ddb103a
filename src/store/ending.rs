//! What comes of an ending. It takes effect here at once; whether it also holds where it cannot be
//! seen at once, in a file or at other gates, has to be waited for. Knows nothing of files or servers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

/// How long an ending is waited for. A disk or a server that needs longer is as good as broken, and a
/// client gives up as well.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long a login waits for the endings that it brought about. Nobody asked for those, so nobody is told
/// when they are not safe, and a disk or a server that is stuck must not keep users from logging in.
const LONGEST_WAIT_AT_LOGIN: Duration = Duration::from_secs(1);

/// Where a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Wherever it could be used, and for good.
    Everywhere,
    /// In this process. It may come back after a crash, or live on at another gate for a while.
    HereOnly,
}

/// An ending that has taken effect here, and may still be on its way to where else it has to be known.
/// Nobody who asked for it is told before [`Ending::landed`] says what came of it.
#[derive(Debug)]
#[must_use = "who asked for it must not be told before it has landed"]
pub struct Ending(Option<Waiting>);

#[derive(Debug)]
struct Waiting {
    told: oneshot::Receiver<Ended>,
    late: Option<Arc<dyn Late>>,
}

/// Who wants to know that an ending was waited for in vain.
pub(in crate::store) trait Late: fmt::Debug + Send + Sync {
    /// Somebody was told that it is not safe, and it may yet be. Who tells of it then finds nobody.
    fn note_late(&self);
}

impl Ending {
    /// One that has nowhere else to go.
    pub fn done() -> Self {
        Self(None)
    }

    /// One that somebody else is about to tell of. Who lets go of the sender without a word has told
    /// of [`Ended::HereOnly`].
    pub fn on_its_way() -> (oneshot::Sender<Ended>, Self) {
        let (told, waiting) = oneshot::channel();
        let waiting = Waiting {
            told: waiting,
            late: None,
        };
        (told, Self(Some(waiting)))
    }

    /// Has this one know when it takes too long.
    pub(in crate::store) fn when_late(mut self, late: Arc<impl Late + 'static>) -> Self {
        if let Some(waiting) = &mut self.0 {
            waiting.late = Some(late);
        }
        self
    }

    /// Waits for what comes of it.
    pub async fn landed(self) -> Ended {
        self.landed_within(LONGEST_WAIT).await
    }

    /// Waits for what comes of it, for so long as a login can.
    pub async fn landed_at_login(self) -> Ended {
        self.landed_within(LONGEST_WAIT_AT_LOGIN).await
    }

    async fn landed_within(self, longest: Duration) -> Ended {
        let Some(Waiting { told, late }) = self.0 else {
            return Ended::Everywhere;
        };
        match tokio::time::timeout(longest, told).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => Ended::HereOnly,
            Err(_) => {
                if let Some(late) = late {
                    late.note_late();
                }
                Ended::HereOnly
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_ending_is_safe_only_when_somebody_says_so() {
        let (told, ending) = Ending::on_its_way();
        drop(told);
        assert_eq!(ending.landed().await, Ended::HereOnly);

        let (_silent, ending) = Ending::on_its_way();
        assert_eq!(ending.landed().await, Ended::HereOnly);

        let (told, ending) = Ending::on_its_way();
        told.send(Ended::Everywhere).unwrap();
        assert_eq!(ending.landed().await, Ended::Everywhere);
        assert_eq!(Ending::done().landed().await, Ended::Everywhere);
    }
}
