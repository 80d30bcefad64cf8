package mcptasks_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// The progress and the poll interval that a handler reports become the task's, whether it
// reports before there is a task or after.
func TestAHandlerReportsProgressAndSetsThePollInterval(t *testing.T) {
	noLeaks(t)
	report := func(ctx context.Context) error {
		task := mcptasks.FromContext(ctx)
		return errors.Join(task.SetProgress(ctx, 3, 10, "three of ten"), task.SetPollInterval(ctx, 7*time.Second))
	}
	for name, when := range map[string]func(ctx context.Context, task *mcptasks.Task) error{
		"before there is a task": func(ctx context.Context, task *mcptasks.Task) error {
			return errors.Join(report(ctx), task.Promote(ctx))
		},
		"after": func(ctx context.Context, task *mcptasks.Task) error {
			return errors.Join(task.Promote(ctx), report(ctx))
		},
	} {
		t.Run(name, func(t *testing.T) {
			said, release := make(chan error, 1), make(chan struct{})
			r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
				add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
					task := mcptasks.FromContext(ctx)
					said <- when(ctx, task)
					<-release
					return text("done"), nil, task.SetStatusMessage(ctx, "nearly")
				}, &mcptasks.ToolOptions{Mode: mcptasks.Manual, PollInterval: time.Hour})
			})
			c := r.as("alice")
			id := c.create("work", nil)
			if err := <-said; err != nil {
				t.Fatal(err)
			}
			stored := func() domain.Task {
				task, err := r.tasks.Account("alice").Get(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				return task
			}
			for stored().Progress == (domain.Progress{}) { // which comes right after the task
				time.Sleep(time.Millisecond)
			}
			for stored().PollInterval == time.Hour {
				time.Sleep(time.Millisecond)
			}
			task, got := stored(), c.get(id)
			if task.Progress != (domain.Progress{Current: 3, Total: 10}) || got.Result["statusMessage"] != "three of ten" || got.Result["pollIntervalMs"] != 7000.0 {
				t.Errorf("stored %+v; the client got %v", task.Progress, got)
			}
			validate(t, "GetTaskResult", got.Raw)
			close(release)
			c.until(id, "completed")
			if task := stored(); task.Progress != (domain.Progress{}) {
				t.Errorf("after the end %+v", task.Progress)
			}
		})
	}
}

func TestAReportThatMakesNoSenseIsRefused(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			task := mcptasks.FromContext(ctx)
			for range 2 { // without a task, and with one
				for _, err := range []error{
					task.SetProgress(ctx, -1, 0, ""), task.SetProgress(ctx, 1, -1, ""),
					task.SetPollInterval(ctx, 0), task.SetPollInterval(ctx, -time.Second),
				} {
					if task != nil && !errors.Is(err, domain.ErrInvalid) || task == nil && err != nil {
						t.Errorf("got %v", err)
					}
				}
				if err := task.Promote(ctx); err != nil {
					return nil, nil, err
				}
			}
			return text("done"), nil, nil
		}, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
	})
	c := r.as("alice")
	c.until(c.create("work", nil), "completed")
	c.legacy = true
	if got := textOf(c.call("work", nil)); got != "done" {
		t.Errorf("without the extension: %q", got)
	}
}
