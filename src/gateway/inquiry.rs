//! What the gate asks WeChat in the name of a user who is logged in. On the control thread, where
//! the connections to WeChat are; each question in a place of its own, and none longer than a call
//! to WeChat may take. Knows nothing of what is done with the answers.

use crate::domain::id::AppId;
use crate::domain::secret::PhoneCode;
use crate::domain::session::Holder;
use crate::gateway::control::{Control, NoOutcome};
use crate::wechat::access_token::{Keeper, Keepers};
use crate::wechat::client::Client;
use crate::wechat::phone::{Phone, PhoneError};

/// Where WeChat is asked. A cheap handle, the same for all workers.
#[derive(Clone, Debug)]
pub struct Inquiries {
    control: Control,
    wechat: Client,
    keepers: Keepers,
}

impl Inquiries {
    /// On the control thread.
    pub fn new(control: Control, wechat: Client, keepers: Keepers) -> Self {
        Self {
            control,
            wechat,
            keepers,
        }
    }

    /// The phone number that a code stands for, if it is this user's. Goes on when nobody waits for
    /// it any more: the code may be used up already.
    pub(in crate::gateway) async fn phone_number(
        &self,
        holder: &Holder,
        code: PhoneCode,
    ) -> Result<Result<Phone, PhoneError>, NoOutcome> {
        let (wechat, keeper) = (self.wechat.clone(), self.keeper(&holder.app)?);
        let openid = holder.openid.clone();
        let asked = async move { wechat.phone_number(&keeper, &openid, &code).await };
        self.control.run(asked).await
    }

    /// Every mini program that is configured has one.
    fn keeper(&self, app: &AppId) -> Result<Keeper, NoOutcome> {
        self.keepers.of(app).cloned().ok_or(NoOutcome::Lost)
    }
}
