//! The APIs of WeChat that are simulated, by their paths. Knows nothing of what they do.

/// One API of WeChat. Calls are counted, and misbehaviour is ordered, for each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// `GET /sns/jscode2session`.
    Jscode2session,
    /// `GET /cgi-bin/token`.
    Token,
    /// `POST /cgi-bin/stable_token`.
    StableToken,
    /// `POST /wxa/business/getuserphonenumber`.
    PhoneNumber,
    /// `POST /wxa/business/checkencryptedmsg`.
    CheckEncrypted,
    /// `GET /wxa/checksession`.
    CheckSession,
    /// `GET /wxa/resetusersessionkey`.
    ResetSessionKey,
    /// `POST /wxa/msg_sec_check`.
    CheckContent,
    /// `POST /wxa/getwxacodeunlimit`.
    MiniProgramCode,
    /// `POST /cgi-bin/message/subscribe/send`.
    SendSubscribed,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Jscode2session,
        Self::Token,
        Self::StableToken,
        Self::PhoneNumber,
        Self::CheckEncrypted,
        Self::CheckSession,
        Self::ResetSessionKey,
        Self::CheckContent,
        Self::MiniProgramCode,
        Self::SendSubscribed,
    ];

    /// The path that it is called at.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Jscode2session => "/sns/jscode2session",
            Self::Token => "/cgi-bin/token",
            Self::StableToken => "/cgi-bin/stable_token",
            Self::PhoneNumber => "/wxa/business/getuserphonenumber",
            Self::CheckEncrypted => "/wxa/business/checkencryptedmsg",
            Self::CheckSession => "/wxa/checksession",
            Self::ResetSessionKey => "/wxa/resetusersessionkey",
            Self::CheckContent => "/wxa/msg_sec_check",
            Self::MiniProgramCode => "/wxa/getwxacodeunlimit",
            Self::SendSubscribed => "/cgi-bin/message/subscribe/send",
        }
    }

    /// The API with exactly this path.
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.path() == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_is_found_at_its_own_path_only() {
        for api in Api::ALL {
            assert_eq!(Api::at(api.path()), Some(api));
            assert_eq!(Api::at(&format!("{}/", api.path())), None);
        }
    }
}
