package ui

import (
	"net"
	"net/http"
	"slices"
	"strings"
)

// knownHost refuses requests for another host. In a DNS rebinding attack the attacker's name
// resolves to this address: the browser takes the page for the attacker's own, but sends the
// attacker's name as the host. Ports are ignored, because a tunnel changes them.
func (s *server) knownHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.isKnown(r.Host) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			refuse(w, http.StatusMisdirectedRequest, "this host name is unknown to the page; add it by --host")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) isKnown(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	if ip := net.ParseIP(host); ip != nil {
		return s.public || ip.IsLoopback()
	}
	host = strings.ToLower(host)
	return host == "localhost" || slices.ContainsFunc(s.Hosts, func(h string) bool { return strings.ToLower(h) == host })
}

// sameOrigin refuses requests that another page made the browser send. Browsers report the
// origin in two headers; other programs send neither.
func sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site := r.Header.Get("Sec-Fetch-Site")
		foreign := site != "" && site != "same-origin" && site != "none"
		if origin := r.Header.Get("Origin"); origin != "" {
			_, host, _ := strings.Cut(origin, "://")
			foreign = foreign || host != r.Host
		}
		if foreign {
			refuse(w, http.StatusForbidden, "another page sent this request")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// policy allows the page to load only embedded files; no page may frame it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// withHeaders makes browsers apply the policy, and cache no response.
func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}
