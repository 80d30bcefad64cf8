package ui

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// authenticated refuses requests without the token, if the page has one. A program sends it
// as a Bearer token; a browser sends the cookie that it got at the login.
func (s *server) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.Token == "" {
			next.ServeHTTP(w, r)
			return
		}
		token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		cookie, err := r.Cookie(s.cookie)
		if bearer && same(token, s.Token) || err == nil && same(cookie.Value, s.session) {
			next.ServeHTTP(w, r)
			return
		}
		refuse(w, http.StatusUnauthorized, "log in with the token")
	})
}

// login gives the browser a cookie for the token. The cookie is good while the command runs.
func (s *server) login(w http.ResponseWriter, r *http.Request) {
	var sent struct {
		Token string `json:"token"`
	}
	if !decode(w, r, &sent) {
		return
	}
	if s.Token == "" || !same(strings.TrimSpace(sent.Token), s.Token) {
		refuse(w, http.StatusUnauthorized, "wrong token")
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: s.cookie, Value: s.session, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	reply(w, http.StatusOK, struct{}{})
}

// same compares secrets in a time that depends neither on their contents nor on their
// lengths.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
