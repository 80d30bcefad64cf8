package ui

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testToken = "0123456789abcdef"

// A server with a token refuses every call about the store that carries it wrongly or leaves
// it out.
func TestATokenIsAskedFor(t *testing.T) {
	w := newWorld(t)
	id := w.id("n:alice", "render")
	s := serve(t, w, Options{Token: testToken, Write: true, Payload: true})
	for _, call := range []string{"GET /api/config", "GET /api/events/tasks", "GET /api/events/task?id=" + id, "GET /api/payload?id=" + id, "POST /api/cancel"} {
		method, path, _ := strings.Cut(call, " ")
		for _, headers := range [][]string{
			nil, {"Authorization", "Bearer "}, {"Authorization", "Bearer wrong"}, {"Authorization", testToken}, {"Cookie", "taskstore_ui=" + testToken},
		} {
			r := s.ask(method, path, "{}", headers...)
			assert.Equal(t, http.StatusUnauthorized, r.StatusCode, "%s with %v", call, headers)
			assert.NotContains(t, r.body, id)
		}
	}
	assert.Equal(t, http.StatusOK, s.ask("GET", "/", "").StatusCode, "the page that logs in")
	assert.Equal(t, http.StatusOK, s.ask("GET", "/api/config", "", "Authorization", "Bearer "+testToken).StatusCode)
}

// A login gives a cookie that scripts do not see and other sites do not send, and that is
// not the token.
func TestALoginGivesACookie(t *testing.T) {
	s := serve(t, newWorld(t), Options{Token: testToken})
	for _, body := range []string{`{}`, `{"token":""}`, `{"token":"wrong"}`} {
		r := s.ask("POST", "/api/login", body)
		assert.Equal(t, http.StatusUnauthorized, r.StatusCode)
		assert.Empty(t, r.Cookies())
	}
	assert.Equal(t, http.StatusBadRequest, s.ask("POST", "/api/login", "no json").StatusCode)
	assert.Equal(t, http.StatusBadRequest, s.ask("POST", "/api/login", `{"token":"`+strings.Repeat("x", 5000)+`"}`).StatusCode)
	r := s.ask("POST", "/api/login", `{"token":"`+testToken+`"}`)
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Len(t, r.Cookies(), 1)
	cookie := r.Cookies()[0]
	assert.True(t, cookie.HttpOnly)
	assert.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
	assert.NotContains(t, cookie.Value, testToken)
	assert.Equal(t, http.StatusOK, s.ask("GET", "/api/config", "", "Cookie", cookie.Name+"="+cookie.Value).StatusCode)
	other := serve(t, newWorld(t), Options{Token: testToken})
	assert.Equal(t, http.StatusUnauthorized, other.ask("GET", "/api/config", "", "Cookie", cookie.Name+"="+cookie.Value).StatusCode)
}

// A server without a token refuses every login: an empty token is no key.
func TestNoTokenIsNoLogin(t *testing.T) {
	s := serve(t, newWorld(t), Options{})
	assert.Equal(t, http.StatusUnauthorized, s.ask("POST", "/api/login", `{"token":""}`).StatusCode)
}

// An address that other machines reach needs a token.
func TestOtherMachinesNeedAToken(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0"} {
		_, err := Listen(address, "")
		assert.ErrorIs(t, err, ErrNoToken, address)
	}
	for address, public := range map[string]bool{"127.0.0.1:0": false, "localhost:0": false, "127.9.9.9:0": false, "0.0.0.0:0": true} {
		l, err := Listen(address, testToken)
		require.NoError(t, err)
		assert.Equal(t, public, isPublic(l.Addr()), address)
		if public {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			assert.ErrorIs(t, Serve(ctx, l, newWorld(t), Options{}), ErrNoToken)
			cancel()
			_, err := l.Accept()
			assert.Error(t, err, "it is closed")
		} else {
			require.NoError(t, l.Close())
		}
	}
	_, err := Listen("nowhere", testToken)
	assert.ErrorContains(t, err, "nowhere")
}
