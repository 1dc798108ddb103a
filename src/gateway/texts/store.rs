//! What is said to a developer when sessions cannot be looked up, begun or ended for certain.

use crate::gateway::texts::Text;

pub(super) const LOGIN_NOT_KEPT: Text = Text::new(
    "WeChat took the code and the session could not be kept; call wx.login again shortly, the \
             code is used up",
    "微信已接受该 code，但会话未能保存；该 code 已用掉，请稍后重新调用 wx.login",
);

pub(super) const NO_LOGINS: Text = Text::new(
    "nobody can log in at this moment; try again shortly, the code has not been used",
    "网关暂时无法登录；该 code 尚未使用，请稍后重试",
);

pub(super) const UNUSABLE: Text = Text::new(
    "the gate cannot reach its sessions at this moment; yours may well be live, so do not log \
             in again, and retry shortly",
    "网关暂时无法访问会话存储；会话很可能仍然有效，请勿重新登录，稍后重试即可",
);
