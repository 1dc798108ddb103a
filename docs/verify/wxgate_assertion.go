package wxgate

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"time"
)

// Keys is what paths.jwks answers; keep it for five minutes, and fetch it before that when a kid is not in
// it, but at most once in 30 s: anybody can make one up.
type Keys struct {
	Keys []struct{ Kid, Alg, X, Y string }
}

// User is what the gate says of a user.
type User struct {
	Iss, Aud, Sub, Appid, Unionid, Sid string
	Iat, Exp                           int64
}

var errNotTheGate = errors.New("not said by the gate")

// UserOf gives the claims. Who it is stands in Sub (the openid) and Appid: never read an X-WX-* header, as
// an assertion says nothing of them. audience: empty where none is configured.
func UserOf(keys Keys, token, audience string, now time.Time) (*User, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errNotTheGate
	}
	bytes := func(text string) []byte { b, _ := base64.RawURLEncoding.DecodeString(text); return b }
	var header struct{ Kid, Alg string }
	var user User
	if json.Unmarshal(bytes(parts[0]), &header) != nil || json.Unmarshal(bytes(parts[1]), &user) != nil {
		return nil, errNotTheGate
	}
	signed, signature := []byte(parts[0]+"."+parts[1]), bytes(parts[2])
	for _, key := range keys.Keys {
		// Which algorithm is as the key says, never as the token says.
		if key.Kid != header.Kid || key.Alg != header.Alg {
			continue
		}
		good := false
		switch x := bytes(key.X); {
		case key.Alg == "EdDSA" && len(x) == ed25519.PublicKeySize:
			good = ed25519.Verify(x, signed, signature)
		case key.Alg == "ES256" && len(signature) == 64:
			public := ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).SetBytes(x), Y: new(big.Int).SetBytes(bytes(key.Y))}
			hash := sha256.Sum256(signed)
			good = ecdsa.Verify(&public, hash[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
		}
		// Iss is identity.jwt.issuer, by default this.
		if good && user.Iss == "wxgate" && user.Iat-5 <= now.Unix() && now.Unix() < user.Exp+5 && (audience == "" || user.Aud == audience) {
			return &user, nil
		}
	}
	return nil, errNotTheGate
}
