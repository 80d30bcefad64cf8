package mcptasks_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

const (
	notNow      = `error:{"code":-32603,"message":"the store is away","data":{"retryable":true}}`
	notFor45s   = `error:{"code":-32603,"message":"the store is away","data":{"retryable":true,"retryAfterMs":45000}}`
	asking1     = `"status":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"?"}}},"pollIntervalMs":1`
	unavailable = `"not now"`
)

// inBubble returns a session over HTTP, without a network, for a synctest.
func (f *fake) inBubble(opts mcptasks.ClientOptions) *mcp.ClientSession {
	f.t.Helper()
	return connect(f.t, &mcp.StreamableClientTransport{
		Endpoint: "http://fake/", HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(direct{f})},
	}, opts)
}

// The client retries a poll or an answer to which the server says "not now", and leaves
// the task alone meanwhile.
func TestClientAsksAgainAfterNotNow(t *testing.T) {
	answers := map[string][]string{
		"tasks/get":    {notNow, state(asking1), notNow, notNow, state(asking1), done},
		"tasks/update": {notNow, notNow, `{}`},
	}
	onBoth(t, answers, mcptasks.ClientOptions{}, func(t *testing.T, f *fake, session *mcp.ClientSession) {
		if got, err := callTool(t, session); got != "done" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if f.times("tasks/cancel") != 0 || f.times("tasks/update") != 3 || f.times("tools/call") != 1 {
			t.Errorf("sent: %v", f.sent)
		}
	})
}

// A server that goes on saying it ends the call in the end, and not the task.
func TestClientLeavesTheTaskOfAServerThatSaysNotNow(t *testing.T) {
	for method, answers := range map[string]map[string][]string{
		"tasks/get":    {"tasks/get": {notNow}},
		"tasks/update": {"tasks/get": {state(asking1)}, "tasks/update": {notNow}},
	} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, answers)
				session := f.inBubble(mcptasks.ClientOptions{})
				begin := time.Now()
				_, err := callTool(t, session)
				if !errors.Is(err, mcptasks.ErrUnavailable) || left(err) != "t1" || f.times("tasks/cancel") != 0 {
					t.Errorf("got %v, sent %v", err, f.sent)
				}
				if wire, ok := errors.AsType[*jsonrpc.Error](err); !ok || wire.Message != "the store is away" {
					t.Errorf("got %v", err)
				}
				if took := time.Since(begin); took < 30*time.Second || took > 32*time.Second {
					t.Errorf("given up after %v", took)
				}
				_ = session.Close()
			})
		})
	}
}

// Another error is an answer.
func TestClientDoesNotAskAgainAfterNo(t *testing.T) {
	for name, answer := range map[string]string{
		"no data":       `error:{"code":-32603,"message":"no"}`,
		"not retryable": `error:{"code":-32603,"message":"no","data":{"retryable":false}}`,
		"other data":    `error:{"code":-32603,"message":"no","data":[1]}`,
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, map[string][]string{"tasks/get": {answer}}, mcptasks.ClientOptions{}, func(t *testing.T, f *fake, session *mcp.ClientSession) {
				_, err := callTool(t, session)
				if wire, ok := errors.AsType[*jsonrpc.Error](err); !ok || wire.Code != -32603 || left(err) != "t1" {
					t.Errorf("got %v", err)
				}
				if f.times("tasks/get") != 1 || f.times("tasks/cancel") != 0 {
					t.Errorf("sent: %v", f.sent)
				}
			})
		})
	}
}

// When the server says when to come back, it is asked then and not earlier.
func TestClientComesBackWhenItIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header map[string]string
		body   string
		times  int
		want   time.Duration // between two attempts
	}{
		"429, in seconds":       {429, map[string]string{"Retry-After": "45"}, unavailable, 1, 45 * time.Second},
		"503, in seconds":       {503, map[string]string{"Retry-After": " 45 "}, unavailable, 1, 45 * time.Second},
		"again and again":       {429, map[string]string{"Retry-After": "45"}, unavailable, 5, 45 * time.Second},
		"less than a backoff":   {503, map[string]string{"Retry-After": "1"}, unavailable, 100, time.Second},
		"a date":                {503, map[string]string{"Retry-After": "Sat, 01 Jan 2000 00:02:00 GMT"}, unavailable, 1, 0},
		"a date of its clock":   {503, map[string]string{"Retry-After": "Fri, 01 Feb 2030 00:00:45 GMT", "Date": "Fri, 01 Feb 2030 00:00:00 GMT"}, unavailable, 1, 45 * time.Second},
		"too long":              {503, map[string]string{"Retry-After": "99999999999999999999"}, unavailable, 1, 10 * time.Minute},
		"in the error":          {503, map[string]string{"Retry-After": "90"}, notFor45s, 1, 45 * time.Second},
		"in the error, no HTTP": {200, nil, notFor45s, 3, 45 * time.Second},
		"no number":             {503, map[string]string{"Retry-After": "soon"}, unavailable, 1, time.Second},
		"negative":              {503, map[string]string{"Retry-After": "-5"}, unavailable, 1, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answers := []string{}
				for range c.times {
					answers = append(answers, c.body)
				}
				f := newFake(t, map[string][]string{"tasks/get": append(answers, done)})
				refusals := c.times
				f.http = func(w http.ResponseWriter, method, message string) bool {
					if method != "tasks/get" || refusals == 0 {
						return false
					}
					refusals--
					for key, value := range c.header {
						w.Header().Set(key, value)
					}
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(c.status)
					_, _ = w.Write([]byte(message))
					return true
				}
				session := f.inBubble(mcptasks.ClientOptions{MinPollInterval: time.Second})
				if got, err := callTool(t, session, time.Hour); got != "done" || err != nil {
					t.Fatalf("got %q, %v", got, err)
				}
				asked := f.sent["tasks/get"]
				want := c.want
				if want == 0 { // a date, by the bubble's clock
					at, _ := http.ParseTime(c.header["Retry-After"])
					want = at.Sub(asked[0])
				}
				for i := 1; i < len(asked); i++ {
					if d := asked[i].Sub(asked[i-1]); d < want || d > want+time.Second {
						t.Fatalf("attempt %d came %v after the one before, not %v", i, d, want)
					}
				}
				if len(asked) != c.times+1 {
					t.Errorf("asked %d times", len(asked))
				}
				_ = session.Close()
			})
		})
	}
}

// The client gives up an attempt that stays without an answer, and makes another.
func TestClientBoundsEachRequest(t *testing.T) {
	for name, overHTTP := range map[string]bool{"http": true, "connection": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, map[string][]string{"tasks/get": {silence, silence, working, done}})
				over := make(chan struct{})
				f.http = func(w http.ResponseWriter, method, message string) bool {
					if message == silence {
						<-over
					}
					return message == silence
				}
				session := f.overConnection
				if overHTTP {
					session = f.inBubble
				}
				s := session(mcptasks.ClientOptions{RetryFor: time.Minute})
				begin := time.Now()
				got, err := callTool(t, s, time.Hour)
				if got != "done" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
				if took := time.Since(begin); took < time.Minute || took > 2*time.Minute {
					t.Errorf("it took %v", took)
				}
				close(over)
				_ = s.Close()
				time.Sleep(time.Minute) // for requests that the SDK still sends
			})
		})
	}
}

// A caller that gives up is not held by a server that is away for long.
func TestClientGivesUpWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, map[string][]string{"tasks/get": {notFor45s}, "tasks/cancel": {notFor45s}})
		session := f.inBubble(mcptasks.ClientOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begin := time.Now()
		_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "tool"})
		if !errors.Is(err, context.DeadlineExceeded) || left(err) != "t1" {
			t.Errorf("got %v", err) // the task could not be cancelled
		}
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("given up after %v", took)
		}
		_ = session.Close()
	})
}

// Authorization by people may take longer than the timeout of a request.
func TestClientGivesPeopleTimeToAuthorize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, map[string][]string{"tasks/get": {working, done}})
		refusals := 1
		f.http = func(w http.ResponseWriter, method, _ string) bool {
			if method != "tasks/get" || refusals == 0 {
				return false
			}
			refusals--
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		session := connect(t, &mcp.StreamableClientTransport{
			Endpoint: "http://fake/", OAuthHandler: new(slowPeople), HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(direct{f})},
		}, mcptasks.ClientOptions{})
		if got, err := callTool(t, session, time.Hour); got != "done" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		_ = session.Close()
	})
}

// slowPeople take ten minutes.
type slowPeople struct{ auth.AuthorizationCodeHandler }

func (*slowPeople) Authorize(ctx context.Context, _ *http.Request, resp *http.Response) error {
	_ = resp.Body.Close()
	select {
	case <-time.After(10 * time.Minute):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
