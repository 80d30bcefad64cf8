package mcptasks_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// FuzzOperations does random things to tasks of two owners through two replicas,
// one of which may stop for a while, and holds all that is seen, by polls and by
// pushes, to a model. The time is that of a bubble: hours pass in no time.
func FuzzOperations(f *testing.F) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		data := make([]byte, 400)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(n int) int {
				if len(data) == 0 {
					return 0
				}
				c := int(data[0]) % n
				data = data[1:]
				return c
			})
			for steps := 0; len(data) > 0 && steps < 150 && !t.Failed(); steps++ {
				w.step()
			}
			w.end()
		})
	})
}

// lease of the tasks; the pauses of the test are shorter and longer.
const lease = 30 * time.Second

type world struct {
	t        *testing.T
	choose   func(n int) int
	replicas [2]*replica
	valves   [2]*valve
	stopped  int // the suspended replica, or -1
	puppets  [5]*puppet
	n        int // of the puppets
	texts    int
	errands  sync.WaitGroup // requests in the background
	streams  sync.WaitGroup
	stop     context.CancelFunc
}

func newWorld(t *testing.T, choose func(n int) int) *world {
	ctx, stop := context.WithCancel(t.Context())
	w := &world{t: t, choose: choose, stopped: -1, stop: stop}
	store := memory()
	for i := range w.replicas {
		w.valves[i] = &valve{StorageBackend: store}
		opts := &mcptasks.Options{Tasks: tasks.Options{Lease: lease, DefaultTTL: 24 * time.Hour, Retention: 24 * time.Hour}}
		w.replicas[i] = startDirect(t, w.valves[i], opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "once"}, w.handle, nil)
			mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "again"}, w.handle, &mcptasks.ToolOptions{Retry: true})
		})
		go func() { _ = w.replicas[i].tasks.Run(ctx, w.replicas[i].mcp) }()
	}
	return w
}

// any returns a replica that answers.
func (w *world) any() *replica {
	i := w.choose(2)
	if i == w.stopped {
		i = 1 - i
	}
	return w.replicas[i]
}

// step does one thing.
func (w *world) step() {
	owners := []string{"alice", "bob"}
	if w.n == 0 || w.n < len(w.puppets) && w.choose(8) == 0 {
		w.create(owners[w.choose(2)])
		return
	}
	p := w.puppets[w.choose(w.n)]
	seldom := w.choose(3) == 0 // so that tasks live long enough for something to happen to them
	switch c := w.choose(25); {
	case c < 2:
		w.poll(p)
	case c < 3:
		w.strange(p)
	case c < 5:
		w.listen(p)
	case c < 9:
		w.answer(p)
	case c < 13:
		w.tell(p, w.ask(p))
	case c < 15:
		w.tell(p, w.report(p))
	case c < 18:
		if w.stopped < 0 {
			w.suspend()
		} else {
			w.resume()
		}
	case c < 19:
		w.pass(time.Duration(1+w.choose(10)) * time.Second)
	case c < 20:
		w.pass(time.Duration(2+w.choose(3)) * lease)
	case c < 21:
		w.comeLate(p)
	case !seldom:
	case c < 22:
		w.cancel(p)
	case c < 23:
		w.tell(p, w.complete(p, w.choose(2) == 0))
	case c < 24:
		p.happens(p.failures, "no luck")
		w.tell(p, func(context.Context, int) *outcome {
			return &outcome{err: &jsonrpc.Error{Code: 4711, Message: "no luck"}}
		})
	default:
		p.happens(p.failures, "internal error")
		w.tell(p, func(context.Context, int) *outcome { panic("told to") })
	}
	if w.choose(4) > 0 {
		synctest.Wait() // all that follows from it has happened
	}
}

// comeLate has a handler act while its replica is suspended, perhaps, for longer
// than a lease.
func (w *world) comeLate(p *puppet) {
	if w.stopped < 0 {
		w.suspend()
	}
	w.tell(p, []command{w.complete(p, false), w.ask(p), w.report(p)}[w.choose(3)])
	synctest.Wait()
	w.pass(3 * lease)
	w.resume()
}

// suspend stops a replica, which takes no requests until resume.
func (w *world) suspend() {
	w.errands.Wait()
	w.stopped = w.choose(2)
	w.valves[w.stopped].suspend()
}

func (w *world) resume() {
	w.valves[w.stopped].resume()
	w.stopped = -1
}

// pass lets time pass. A lease can only end meanwhile if a replica is suspended.
func (w *world) pass(d time.Duration) {
	if w.stopped >= 0 {
		for _, p := range w.puppets[:w.n] {
			p.happens(p.failures, "the server that ran this task is gone")
		}
	}
	time.Sleep(d)
}

func (w *world) create(owner string) {
	p := &puppet{commands: make(chan command, 8), obstinate: w.choose(4) == 0}
	p.model = newModel(w.t, owner, "")
	w.puppets[w.n] = p
	tool := []string{"once", "again"}[w.choose(2)]
	r := w.any().as(owner).call(tool, map[string]any{"n": w.n})
	w.n++
	p.id, _ = r.Result["taskId"].(string)
	if p.id == "" || r.Result["status"] != "working" {
		w.t.Fatalf("no new task: %v", r)
	}
	p.polls = view{model: p.model, who: "a poll"}
	p.polls.see(r.Result, nil)
}

func (w *world) poll(p *puppet) {
	answered := p.known(p.answered)
	r := w.any().as(p.owner).get(p.id)
	if r.Error != nil {
		w.t.Fatalf("the owner polls: %v", r)
	}
	p.polls.see(r.Result, answered)
}

// strange asks for the task as somebody else.
func (w *world) strange(p *puppet) {
	for _, user := range []string{"alice", "bob", "", "n:" + p.owner} {
		if user == p.owner {
			continue
		}
		c := w.any().as(user)
		i := w.choose(5) // of the five that reach tasks
		if got, want := c.answer(questions(p.id)[i].method, questions(p.id)[i].params), c.answer(questions(unknownID)[i].method, questions(unknownID)[i].params); got != want {
			w.t.Errorf("a stranger saw\n%s\nof an unknown task\n%s", got, want)
		}
	}
}

// listen follows the task for as long as it lives.
func (w *world) listen(p *puppet) {
	events := w.any().as(p.owner).listen(w.t.Context(), map[string]any{"taskIds": []string{p.id}})
	w.streams.Go(func() {
		pushes := view{model: p.model, who: "a subscriber"}
		over := false
		for e := range events {
			switch e.Method {
			case "notifications/tasks":
				pushes.see(e.Params, nil) // it may have been under way for a while
			case "":
				over = e.Result != nil
			}
		}
		if !over || !pushes.ended() {
			w.t.Errorf("a stream ended with %s", pushes.raw)
		}
	})
}

// send waits for a request, or leaves it to itself.
func (w *world) send(request func()) {
	if w.choose(4) == 0 {
		w.errands.Go(request)
		return
	}
	request()
}

func (w *world) cancel(p *puppet) {
	p.cancels()
	c := w.any().as(p.owner)
	w.send(func() {
		if r := c.cancel(p.id); r.Error != nil {
			w.t.Errorf("tasks/cancel: %v", r)
		}
	})
}

// answer answers some of the questions that were seen last, and some that were not.
func (w *world) answer(p *puppet) {
	w.poll(p)
	responses := map[string]any{}
	known := p.polls.outstanding()
	if len(known) > 1 && w.choose(2) == 0 {
		known = known[:1]
	}
	for _, key := range known {
		responses[key] = accept(nil)
	}
	switch w.choose(4) {
	case 0:
		responses["unknown"] = 42
	case 1:
		responses["q"+strconv.Itoa(w.choose(3))] = accept(nil)
	case 2:
		for _, key := range p.known(p.answered) {
			responses[key] = "again"
		}
	}
	c := w.any().as(p.owner)
	w.send(func() {
		if r := c.update(p.id, responses); r.Error != nil {
			w.t.Errorf("tasks/update: %v", r)
			return
		}
		for _, key := range known {
			p.happens(p.answered, key)
		}
	})
}

// end ends all tasks, and looks whether they have.
func (w *world) end() {
	if w.stopped >= 0 {
		w.resume()
	}
	w.errands.Wait()
	for _, p := range w.puppets[:w.n] {
		w.cancel(p)
	}
	w.errands.Wait()
	w.pass(3 * lease)
	for _, p := range w.puppets[:w.n] {
		w.poll(p) // suspects that its runner is gone
	}
	w.pass(lease)
	for _, p := range w.puppets[:w.n] {
		w.strange(p)
		for range 3 {
			w.poll(p)
		}
		if !p.polls.ended() {
			w.t.Errorf("after a cancel and three leases:\n%s", p.polls.raw)
		}
	}
	w.streams.Wait() // they end with their tasks
	w.stop()
	for _, r := range w.replicas {
		if err := r.tasks.Shutdown(w.t.Context()); err != nil {
			w.t.Error(err)
		}
	}
}
