package peers

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2asrv"
	"github.com/a2aproject/a2a-go/a2asrv/eventqueue"
)

// A2A is the store in memory of a2aproject/a2a-go. It is internal, so calls go through that
// module's request handler. A get is OnGetTask, which adds little. A write is OnSendMessage
// with an agent that answers at once, which adds goroutines and a queue. It lacks
// compare-and-swap, owners and lists.
func A2A() Peer {
	s := new(a2aStore)
	s.clear()
	return Peer{
		Name: "a2a-go, memory",
		Create: func(ctx context.Context, owner, task string, data []byte) (Record, error) {
			return s.write(ctx, owner+"/"+task, data)
		},
		Get: func(ctx context.Context, owner, task string) (Record, error) {
			t, err := s.handler.OnGetTask(ctx, &a2a.TaskQueryParams{ID: s.id(owner + "/" + task)})
			if err != nil {
				return Record{}, err
			}
			return Record{1, []byte(textOf(t.Status.Message))}, nil
		},
		Update: func(ctx context.Context, owner, task string, data []byte, _ Record) (Record, error) {
			return s.write(ctx, owner+"/"+task, data)
		},
		Clear: s.clear,
	}
}

// An a2aStore remembers the ids that the handler gives to tasks.
type a2aStore struct {
	handler a2asrv.RequestHandler
	ids     sync.Map // by name
}

func (s *a2aStore) clear() {
	s.handler = a2asrv.NewHandler(a2aAgent{}, a2asrv.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	s.ids.Clear()
}

func (s *a2aStore) id(name string) a2a.TaskID {
	id, _ := s.ids.Load(name)
	known, _ := id.(a2a.TaskID)
	return known
}

func (s *a2aStore) write(ctx context.Context, name string, data []byte) (Record, error) {
	message := a2a.NewMessage(a2a.MessageRoleUser, a2a.TextPart{Text: string(data)})
	message.TaskID = s.id(name)
	result, err := s.handler.OnSendMessage(ctx, &a2a.MessageSendParams{Message: message})
	if err != nil {
		return Record{}, err
	}
	task, ok := result.(*a2a.Task)
	if !ok {
		return Record{}, errors.New("peers: the agent's answer is no task")
	}
	if message.TaskID == "" {
		s.ids.Store(name, task.ID)
	}
	return Record{1, data}, nil
}

// a2aAgent makes a message the status of its task. It leaves out the history, which would
// make each update of a task larger than the last.
type a2aAgent struct{}

func (a2aAgent) Execute(ctx context.Context, req *a2asrv.RequestContext, queue eventqueue.Queue) error {
	answer := a2a.NewMessage(a2a.MessageRoleAgent, a2a.TextPart{Text: textOf(req.Message)})
	return queue.Write(ctx, &a2a.Task{
		ID: req.TaskID, ContextID: req.ContextID,
		Status: a2a.TaskStatus{State: a2a.TaskStateInputRequired, Message: answer},
	})
}

func (a2aAgent) Cancel(context.Context, *a2asrv.RequestContext, eventqueue.Queue) error { return nil }

func textOf(m *a2a.Message) string {
	if m == nil || len(m.Parts) == 0 {
		return ""
	}
	part, _ := m.Parts[0].(a2a.TextPart)
	return part.Text
}
