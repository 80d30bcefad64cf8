package taskotel

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/taskstore/taskstore/tasks"
)

// TasksObserver returns an observer that feeds the metrics of tasks. It is for the
// [tasks.Options] of programs that keep tasks without package mcptasks; programs with
// mcptasks call [Telemetry.Observe].
func (t *Telemetry) TasksObserver() *tasks.Observer {
	return &tasks.Observer{
		Created: func(ctx context.Context, task *tasks.Task) {
			t.metrics.created.Add(ctx, 1, metric.WithAttributes(t.toolOf(task)...))
		},
		Acquired: func(ctx context.Context, _ *tasks.Task, wait time.Duration, lost bool) {
			t.metrics.wait.Record(ctx, wait.Seconds())
			if lost {
				t.metrics.lost.Add(ctx, 1)
			}
		},
		Ended: t.ended,
		Refused: func(ctx context.Context, l *tasks.LimitError) {
			limit, ok := limits[l.Limit]
			if !ok {
				limit = other
			}
			t.metrics.refused.Add(ctx, 1, metric.WithAttributes(attribute.String("limit", limit)))
		},
	}
}

func (t *Telemetry) ended(ctx context.Context, task *tasks.Task, settled bool) {
	attrs := append(t.toolOf(task), attribute.String("status", string(task.Status)))
	t.metrics.duration.Record(ctx, task.UpdatedAt.Sub(task.CreatedAt).Seconds(), metric.WithAttributes(attrs...))
	reason := reasonOf(task)
	t.metrics.ended.Add(ctx, 1, metric.WithAttributes(append(attrs, attribute.String("reason", reason))...))
	if settled && reason == reasons[tasks.MessageRunnerGone] {
		t.metrics.lost.Add(ctx, 1)
	}
}

// toolOf returns the attribute of a task's tool. It finds the name in the call, as package
// mcptasks stores it, and ignores the requests of other programs.
func (t *Telemetry) toolOf(task *tasks.Task) []attribute.KeyValue {
	var request struct {
		Method string `json:"method"`
		Params struct {
			Name string `json:"name"`
		} `json:"params"`
	}
	if json.Unmarshal(task.Request, &request) != nil || request.Method != methodCall || request.Params.Name == "" {
		return nil
	}
	return []attribute.KeyValue{attribute.String("tool", t.tools.admit(request.Params.Name))}
}

// isToolError reports whether result has isError set. It decodes only results that contain
// the word.
func isToolError(result json.RawMessage) bool {
	if !bytes.Contains(result, []byte(`"isError"`)) {
		return false
	}
	var r struct {
		IsError bool `json:"isError"`
	}
	return json.Unmarshal(result, &r) == nil && r.IsError
}
