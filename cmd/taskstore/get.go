package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// ownerFlag adds the flag that names the owner of one task.
func ownerFlag(cmd *cobra.Command, owner *string) {
	cmd.Flags().StringVar(owner, "owner", "", "the task's owner; without it the command looks through all owners")
}

func (a *app) getCommand() *cobra.Command {
	var owner, form string
	var payload bool
	cmd := &cobra.Command{
		Use: "get ID", Short: "Show one task",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: a.withStore(func(ctx context.Context, b taskstore.StorageBackend, args []string) error {
			return a.get(ctx, b, owner, args[0], form, payload)
		}),
	}
	ownerFlag(cmd, &owner)
	cmd.Flags().BoolVar(&payload, "payload", false, "show the task's payload: arguments, questions, answers, result or error")
	formFlag(cmd, &form, formTable, formJSON)
	return cmd
}

func (a *app) get(ctx context.Context, b taskstore.StorageBackend, owner, id, form string, payload bool) error {
	t, err := a.find(ctx, tasks.NewInspector(b), owner, id)
	if err != nil {
		return err
	}
	now, err := taskstore.Now(ctx, b)
	if err != nil {
		return err
	}
	v := look.TaskOf(t, now, payload)
	if form == formJSON {
		text, err := encode(v, "  ")
		if err != nil {
			return err
		}
		_, err = a.Write(text)
		return err
	}
	return a.printTask(v, now)
}

// printTask prints a task, one property a line, and then its payload, if v has it.
func (a *app) printTask(v look.Task, now time.Time) error {
	t := a.table()
	line := func(name, text string) {
		if text != "" {
			_ = t.row(name, text)
		}
	}
	at := func(when *time.Time) string {
		if when == nil {
			return ""
		}
		if when.After(now) {
			return when.Format(time.RFC3339) + ", in " + age(*when, now)
		}
		return when.Format(time.RFC3339) + ", " + age(now, *when) + " ago"
	}
	line("id", v.ID)
	line("owner", v.Owner)
	line("status", statusText(v))
	line("message", v.StatusMessage)
	line("tool", v.Tool)
	line("service", v.Service)
	line("created", at(&v.CreatedAt))
	line("changed", at(&v.UpdatedAt))
	line("expires", at(v.ExpiresAt))
	if v.TTLMillis > 0 {
		line("promised for", (time.Duration(v.TTLMillis) * time.Millisecond).String())
	}
	if l := v.Lease; l != nil {
		line("runner", l.Holder)
		line("runs", fmt.Sprint(l.Token))
		line("lease ends", at(l.ExpiresAt))
		line("silent since", at(l.IdleSince))
	}
	line("may run again", map[bool]string{true: "yes", false: "no"}[v.Resumable])
	if v.CancelRequested {
		line("cancel", "requested")
	}
	if v.Questions > 0 {
		line("questions", fmt.Sprint(v.Questions))
	}
	if v.ErrorCode != nil {
		line("error code", fmt.Sprint(*v.ErrorCode))
	}
	line("revision", fmt.Sprintf("%d, of version %d", v.Revision, v.Version))
	line("bytes", fmt.Sprintf("%d; request %d, result %d, state %d", v.Bytes.Record, v.Bytes.Request, v.Bytes.Result, v.Bytes.State))
	if err := t.end(); err != nil || v.Payload == nil {
		return err
	}
	text, err := json.Marshal(v.Payload)
	if err != nil {
		return err
	}
	text, err = encode(json.RawMessage(text), "  ")
	if err != nil {
		return err
	}
	_, err = a.Write(text)
	return err
}

// describe names a task in a sentence.
func describe(t tasks.Task) string {
	words := []string{"task", safeLine(t.ID), "of owner", safeLine(t.Owner)}
	if t.Status != "" {
		words = append(words, "("+string(t.Status)+")")
	}
	return strings.Join(words, " ")
}
