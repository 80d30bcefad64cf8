package mcptasks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// roundTripping is an HTTP client for tasks.
var roundTripping = &http.Client{Transport: mcptasks.RoundTripper(&http.Transport{DisableKeepAlives: true})}

func httpServer(t *testing.T, f *fake) string {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL
}

// eliciting returns a session over HTTP that has its forms answered by form.
func eliciting(t *testing.T, f *fake, opts mcptasks.ClientOptions, form func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error)) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, &mcp.ClientOptions{ElicitationHandler: form})
	if err := mcptasks.InstallClient(client, &opts); err != nil {
		t.Fatal(err)
	}
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: httpServer(t, f), HTTPClient: roundTripping}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// asks returns a state that asks for some inputs.
func asks(keys ...string) string {
	var all []string
	for _, key := range keys {
		all = append(all, fmt.Sprintf(`%q:{"method":"elicitation/create","params":{"message":%q}}`, key, key))
	}
	return state(`"status":"input_required","pollIntervalMs":1,"inputRequests":{` + strings.Join(all, ",") + `}`)
}

func accepting(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
	return &mcp.ElicitResult{Action: "accept"}, nil
}

// A question that this client cannot answer ends the call with an error that names its
// kind. The client leaves the task to another one, and calls no handler for the questions
// beside it.
func TestClientLeavesTasksWithQuestionsItCannotAnswer(t *testing.T) {
	for name, c := range map[string]struct{ question, says string }{
		"an unknown kind":     {`{"method":"payment/request","params":{}}`, "payment/request"},
		"not declared":        {`{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}`, "sampling"},
		"a mode not declared": {`{"method":"elicitation/create","params":{"mode":"url","url":"https://x","message":"?","elicitationId":"1"}}`, "url"},
		"no method":           {`{"params":{}}`, "method"},
		"a method of numbers": {`{"method":17}`, "method"},
	} {
		t.Run(name, func(t *testing.T) {
			var forms atomic.Int64
			f := newFake(t, map[string][]string{"tasks/get": {
				state(`"status":"input_required","pollIntervalMs":1,"inputRequests":{"a":{"method":"elicitation/create","params":{"message":"?"}},"b":` + c.question + `}`),
			}})
			session := eliciting(t, f, mcptasks.ClientOptions{}, func(ctx context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
				forms.Add(1)
				return accepting(ctx, req)
			})
			_, err := callTool(t, session)
			if left(err) != "t1" || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "the task goes on") {
				t.Errorf("got %v", err)
			}
			if f.times("tasks/cancel")+f.times("tasks/update") != 0 || forms.Load() != 0 {
				t.Errorf("%d forms, sent %v", forms.Load(), f.sent)
			}
		})
	}
}

// Without a handler for forms the client has not declared them.
func TestClientLeavesTasksWithFormsItCannotShow(t *testing.T) {
	f := newFake(t, map[string][]string{"tasks/get": {asks("a")}})
	_, err := callTool(t, eliciting(t, f, mcptasks.ClientOptions{}, nil))
	if left(err) != "t1" || !strings.Contains(err.Error(), "elicitation") || f.times("tasks/cancel") != 0 {
		t.Errorf("got %v, sent %v", err, f.sent)
	}
}

// A handler that fails, or panics, ends the task of a call, and not that of an Await
// or of a client that leaves tasks.
func TestClientCancelsTheTaskIfItsHandlerFails(t *testing.T) {
	failing := errors.New("no screen")
	for name, c := range map[string]struct {
		opts   mcptasks.ClientOptions
		await  bool
		panics bool
		want   int // cancels
	}{
		"CallTool":          {want: 1},
		"CallTool, panic":   {panics: true, want: 1},
		"CallTool, leaving": {opts: mcptasks.ClientOptions{LeaveTasks: true}},
		"Await":             {await: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, map[string][]string{"tasks/get": {asks("a")}})
			session := eliciting(t, f, c.opts, func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
				if c.panics {
					panic("no screen")
				}
				return nil, failing
			})
			var err error
			if c.await {
				_, err = mcptasks.Await(t.Context(), session, "t1")
			} else {
				_, err = callTool(t, session)
			}
			if err == nil || !strings.Contains(err.Error(), "no screen") || !c.panics && !errors.Is(err, failing) {
				t.Errorf("got %v", err)
			}
			if (left(err) == "t1") != (c.want == 0) || f.times("tasks/cancel") != c.want {
				t.Errorf("left %q, sent %v", left(err), f.sent)
			}
		})
	}
}

// A form closes when its question does, and CallTool goes on without it, even if the
// handler does not return.
func TestClientClosesAbandonedForms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		then  []string
		cause error
		want  string
		err   error
	}{
		"cancelled":          {[]string{state(`"status":"cancelled"`)}, mcptasks.ErrCancelled, "", mcptasks.ErrCancelled},
		"ended":              {[]string{done}, mcptasks.ErrQuestionClosed, "done", nil},
		"answered elsewhere": {[]string{working, working, done}, mcptasks.ErrQuestionClosed, "done", nil},
		"asked anew":         {[]string{strings.ReplaceAll(asks("a"), `"message":"a"`, `"message":"b"`), done}, mcptasks.ErrQuestionClosed, "done", nil},
		"expired":            {[]string{`error:{"code":-32602,"message":"Task not found"}`}, mcptasks.ErrQuestionClosed, "", mcptasks.ErrNotFound},
	} {
		for _, obstinate := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, obstinate %v", name, obstinate), func(t *testing.T) {
				f := newFake(t, map[string][]string{"tasks/get": {asks("a")}})
				release := make(chan struct{})
				defer close(release)
				causes := make(chan error, 2)
				var once sync.Once
				session := eliciting(t, f, mcptasks.ClientOptions{}, func(ctx context.Context, _ *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
					once.Do(func() { // somebody else acts while the form is open
						f.mu.Lock()
						f.answers["tasks/get"] = c.then
						f.mu.Unlock()
					})
					<-ctx.Done()
					causes <- context.Cause(ctx)
					if obstinate {
						<-release
					}
					return accepting(ctx, nil)
				})
				got, err := callTool(t, session)
				if got != c.want || !errors.Is(err, c.err) {
					t.Errorf("got %q, %v", got, err)
				}
				if cause := <-causes; !errors.Is(cause, c.cause) {
					t.Errorf("the form was closed by %v", cause)
				}
				if f.times("tasks/update")+f.times("tasks/cancel") != 0 {
					t.Errorf("sent: %v", f.sent)
				}
			})
		}
	}
}

// One form is closed, the other is answered all the same.
func TestClientAnswersOpenQuestions(t *testing.T) {
	f := newFake(t, map[string][]string{"tasks/get": {asks("a", "b")}})
	session := eliciting(t, f, mcptasks.ClientOptions{}, func(ctx context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
		if req.Params.Message == "a" {
			f.mu.Lock()
			f.answers["tasks/get"] = []string{asks("b")}
			f.mu.Unlock()
			<-ctx.Done()
			f.mu.Lock()
			f.answers["tasks/get"] = []string{asks("b"), asks("b"), asks("b"), done}
			f.mu.Unlock()
			return nil, ctx.Err()
		}
		return accepting(ctx, req)
	})
	if got, err := callTool(t, session); got != "done" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got := marshal(t, f.last["tasks/update"]["inputResponses"]); f.times("tasks/update") != 1 || got != `{"b":{"action":"accept"}}` {
		t.Errorf("%d updates: %s", f.times("tasks/update"), got)
	}
}

// Questions that come together are answered together, and once.
func TestClientAnswersTogether(t *testing.T) {
	f := newFake(t, map[string][]string{"tasks/get": {asks("a", "b"), asks("a", "b"), asks("b"), working, asks("c"), done}})
	var forms atomic.Int64
	session := eliciting(t, f, mcptasks.ClientOptions{}, func(ctx context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
		forms.Add(1)
		return accepting(ctx, req)
	})
	if got, err := callTool(t, session); got != "done" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if forms.Load() != 3 || f.times("tasks/update") != 2 {
		t.Errorf("%d forms, %d updates", forms.Load(), f.times("tasks/update"))
	}
}

// A refused answer does not end the call: another client may have answered before.
func TestClientGoesOnAfterALateAnswer(t *testing.T) {
	for name, then := range map[string][]string{
		"answered": {working, done},
		"ended":    {done},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, map[string][]string{
				"tasks/get":    append([]string{asks("a")}, then...),
				"tasks/update": {`error:{"code":-32600,"message":"not any more"}`},
			})
			if got, err := callTool(t, eliciting(t, f, mcptasks.ClientOptions{}, accepting)); got != "done" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// A form stays open for as long as its question is asked.
func TestClientKeepsAFormOpenWhileItsQuestionIsAsked(t *testing.T) {
	f := newFake(t, map[string][]string{"tasks/get": {asks("a")}})
	session := eliciting(t, f, mcptasks.ClientOptions{}, func(ctx context.Context, _ *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
		for begun := f.times("tasks/get"); f.times("tasks/get") < begun+5; {
			select {
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(time.Millisecond):
			}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.answers["tasks/get"] = []string{done}
		return accepting(ctx, nil)
	})
	if got, err := callTool(t, session, 20*time.Second); got != "done" {
		t.Errorf("got %q, %v", got, err)
	}
}

// The client answers as often, and as much at a time, as its bounds say, and no more.
func TestClientBoundsQuestions(t *testing.T) {
	const maxRounds, maxQuestions = 10, 16
	var many, rounds []string
	for i := range 100 {
		many = append(many, fmt.Sprint("k", i))
		rounds = append(rounds, asks(fmt.Sprint("k", i)))
	}
	for name, c := range map[string]struct {
		states  []string
		forms   int64
		refused bool
	}{
		"one after the other":      {rounds, maxRounds, true},
		"one more than all rounds": {append(slices.Clone(rounds[:maxRounds+1]), done), maxRounds, true},
		"all rounds":               {append(slices.Clone(rounds[:maxRounds]), done), maxRounds, false},
		"all at a time":            {[]string{asks(many...)}, 0, true},
		"one too many":             {[]string{asks(many[:maxQuestions+1]...), done}, 0, true},
		"as many as allowed":       {[]string{asks(many[:maxQuestions]...), done}, maxQuestions, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, map[string][]string{"tasks/get": c.states})
			var forms atomic.Int64
			session := eliciting(t, f, mcptasks.ClientOptions{}, func(ctx context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
				forms.Add(1)
				return accepting(ctx, req)
			})
			got, err := callTool(t, session)
			if (left(err) == "t1") != c.refused || !c.refused && got != "done" || f.times("tasks/cancel") != 0 || forms.Load() > c.forms {
				t.Errorf("got %q, %v after %d forms, sent %v", got, err, forms.Load(), f.sent)
			}
		})
	}
}

// With a real server: somebody else cancels while the form is open.
func TestClientClosesTheFormOfACancelledTask(t *testing.T) {
	r := start(t, memory(), nil, asking)
	ids := make(chan string, 1000)
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(ctx context.Context, _ *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			r.as("").cancel(<-ids)
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Second):
				t.Error("the form stays open")
			}
			return nil, context.Cause(ctx)
		},
	})
	if err := mcptasks.InstallClient(client, &mcptasks.ClientOptions{OnTask: func(_ context.Context, task mcptasks.ClientTask) { ids <- task.ID }}); err != nil {
		t.Fatal(err)
	}
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: r.url, HTTPClient: roundTripping}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "ask"}); !errors.Is(err, mcptasks.ErrCancelled) {
		t.Errorf("got %v", err)
	}
}
