//go:build integration

package ui

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/tasks"
)

// fill has a store look as one does in the middle of a day.
func (w *world) fill() {
	r := rand.New(rand.NewPCG(1, 2))
	tools := []string{"render_report", "search_archive", "transcode", "summarize"}
	for minute := 75; minute > 0; minute-- {
		for n := range 1 + r.IntN(4) {
			owner, tool := fmt.Sprintf("n:user-%d", r.IntN(5)), tools[r.IntN(len(tools))]
			run := w.ago(time.Duration(minute)*time.Minute+time.Duration(n)*7*time.Second).create(owner, tool)
			w.ago(max(time.Duration(minute)*time.Minute-time.Duration(r.IntN(240))*time.Second, 0))
			var err error
			switch r.IntN(12) {
			case 0:
				_, err = run.Fail(w.t.Context(), tasks.Error{Code: -32000, Message: "out of paper"})
			case 1:
				_, err = run.Update(w.t.Context(), func(t *tasks.Task) error { t.Status = tasks.Cancelled; return nil })
			default:
				_, err = run.Complete(w.t.Context(), json.RawMessage(`{"content":[]}`))
			}
			require.NoError(w.t, err)
		}
	}
	w.ago(8*time.Minute).create("n:user-2", "transcode") // its runner is lost
	asked := w.ago(3*time.Minute).create("n:user-1", "render_report")
	_, err := w.ago(0).store.RunOf(asked.Task()).Extend(w.t.Context(), time.Hour)
	require.NoError(w.t, err)
	_, err = asked.RequireInput(w.t.Context(), map[string]json.RawMessage{"paper": json.RawMessage(`{"ask":"A4?"}`)})
	require.NoError(w.t, err)
	for i, progress := range []tasks.Progress{{Current: 3, Total: 9}, {Current: 61, Total: 80}, {}} {
		run := w.ago(time.Duration(90-20*i)*time.Second).create(fmt.Sprintf("n:user-%d", i), tools[i])
		_, err := w.ago(0).store.RunOf(run.Task()).Extend(w.t.Context(), time.Hour)
		require.NoError(w.t, err)
		_, err = run.SetProgress(w.t.Context(), progress, []string{"page 3 of 9", "archive 2019, box 61", "waiting for the queue"}[i])
		require.NoError(w.t, err)
	}
}
