package ui

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// guarded are the calls that another page must not reach.
var guarded = []string{
	"GET /api/config", "GET /api/events/tasks", "GET /api/events/task?id=x", "GET /api/payload?id=x", "POST /api/cancel", "POST /api/login",
}

// The server refuses a name that an attacker resolves to this address, for the page itself
// and for every call.
func TestAForeignHostIsRefused(t *testing.T) {
	w := newWorld(t)
	s := serve(t, w, Options{Write: true, Payload: true, Hosts: []string{"tasks.example"}})
	for _, host := range []string{"evil.example", "evil.example:8370", "localhost.evil.example", "203.0.113.7", "203.0.113.7:80", "[2001:db8::1]:80", "0.0.0.0"} {
		for _, call := range append([]string{"GET /", "GET /app.js"}, guarded...) {
			method, path, _ := strings.Cut(call, " ")
			r := s.ask(method, path, "{}", "Host", host)
			assert.Equal(t, http.StatusMisdirectedRequest, r.StatusCode, "%s of %s", call, host)
			assert.NotContains(t, r.body, "csrf")
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST:9", "127.0.0.1:8370", "127.8.8.8", "[::1]:8370", "[::1]", "tasks.example:443", "Tasks.Example"} {
		assert.Equal(t, http.StatusOK, s.ask("GET", "/api/config", "", "Host", host).StatusCode, host)
	}
}

// A request that another page has the browser send is refused, if it changes, streams or tells.
func TestAForeignPageIsRefused(t *testing.T) {
	w := newWorld(t)
	id := w.id("n:alice", "render")
	s := serve(t, w, Options{Write: true, Payload: true, Token: "0123456789abcdef"})
	ok := []string{"Authorization", "Bearer 0123456789abcdef"}
	own := strings.TrimPrefix(s.url, "http://")
	_, port, err := net.SplitHostPort(own)
	require.NoError(t, err)
	for _, headers := range [][]string{
		{"Origin", "http://evil.example"},
		{"Origin", "http://127.0.0.1:1"}, // another program of this machine
		{"Origin", "http://localhost:" + port},
		{"Origin", "null"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Sec-Fetch-Site", "cross-site", "Origin", "http://" + own},
	} {
		for _, call := range guarded {
			method, path, _ := strings.Cut(call, " ")
			r := s.ask(method, path, `{"token":"0123456789abcdef"}`, append(headers, ok...)...)
			assert.Equal(t, http.StatusForbidden, r.StatusCode, "%s with %v", call, headers)
			assert.Contains(t, r.body, "another page")
		}
	}
	for _, headers := range [][]string{{"Origin", "http://" + own, "Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Site", "none"}, nil} {
		for _, call := range []string{"GET /api/config", "GET /api/events/tasks", "GET /api/events/task?id=" + id, "GET /api/payload?id=" + id} {
			_, path, _ := strings.Cut(call, " ")
			assert.Equal(t, http.StatusOK, s.ask("GET", path, "", append(headers, ok...)...).StatusCode, "%s with %v", call, headers)
		}
	}
}

// Every answer forbids the browser foreign content, scripts in line, frames and copies in
// its cache.
func TestAnswersAreHardened(t *testing.T) {
	s := serve(t, newWorld(t), Options{})
	for _, path := range []string{"/", "/app.js", "/style.css", "/api/config", "/api/events/tasks", "/api/nothing"} {
		h := s.ask("GET", path, "").Header
		policy := h.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'", "base-uri 'none'"} {
			assert.Contains(t, policy, part, path)
		}
		assert.NotContains(t, policy, "unsafe")
		assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		assert.Equal(t, "no-store", h.Get("Cache-Control"), path)
		assert.Equal(t, "no-referrer", h.Get("Referrer-Policy"), path)
		assert.Empty(t, h.Get("Access-Control-Allow-Origin"), path)
	}
}

// The page works without any other server.
func TestThePageLoadsOnlyFromItself(t *testing.T) {
	entries, err := embedded.ReadDir("assets")
	require.NoError(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "uPlot") {
			continue // its text names its home
		}
		text, err := embedded.ReadFile("assets/" + e.Name())
		require.NoError(t, err)
		rest := strings.ReplaceAll(string(text), "http://www.w3.org/2000/svg", "")
		for _, word := range []string{"http://", "https://", "//cdn", "innerHTML", "insertAdjacentHTML", "document.write", "eval("} {
			assert.NotContains(t, rest, word, e.Name())
		}
	}
	_, err = embedded.ReadFile("assets/uPlot.LICENSE.txt")
	assert.NoError(t, err, "the licence comes along")
}
