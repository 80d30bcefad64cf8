package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// A level says how bad a finding is, the worst first.
type level string

const (
	unusable level = "unusable" // calls fail
	weakened level = "weakened" // a promise is broken, or soon will be
	notKnown level = "unknown"  // the check was impossible: all may be well
)

// A diagnosis is one finding of doctor. Its JSON is as stable as that of [look.Task].
type diagnosis struct {
	Level   level  `json:"level"`
	Node    string `json:"node,omitempty"`
	Setting string `json:"setting"`
	Breaks  string `json:"breaks"`
	Remedy  string `json:"remedy"`
}

// A report is the JSON output of doctor.
type report struct {
	Exit     int         `json:"exit"`
	Findings []diagnosis `json:"findings"`
}

// limits has limits of the servers; the store does not know them.
type limits struct{ maxTasks, maxActive int }

func (a *app) doctorCommand() *cobra.Command {
	var form string
	defaults := defaultLimits()
	l := defaults
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check the store's servers and tasks, and name remedies",
		Long: "Check the store's servers and tasks, and name remedies.\n\n" +
			"Exit codes: 0 no fault was found, or a check was refused; 1 a promise is weakened; 2 the store cannot be used.",
		Args: usageArgs(cobra.NoArgs),
		RunE: a.limited(func(ctx context.Context, _ []string) error {
			findings, err := a.diagnose(ctx, l)
			if err != nil {
				return err
			}
			return a.report(findings, form)
		}),
	}
	cmd.Flags().IntVar(&l.maxTasks, "max-tasks", defaults.maxTasks, "MaxTasks of the servers")
	cmd.Flags().IntVar(&l.maxActive, "max-active", defaults.maxActive, "MaxActive of the servers")
	formFlag(cmd, &form, formTable, formJSON)
	return cmd
}

// defaultLimits returns the limits of servers without options.
func defaultLimits() limits {
	s, err := tasks.New(taskstore.NewMemoryBackend(nil), nil)
	if err != nil {
		panic(err) // the defaults are valid
	}
	return limits{s.Options().MaxTasks, s.Options().MaxActive}
}

// diagnose returns the findings. Its error is a mistake in the command line, or an
// interruption by the operator.
func (a *app) diagnose(ctx context.Context, l limits) ([]diagnosis, error) {
	b, err := a.open(ctx)
	if errors.As(err, new(usageError)) {
		return nil, err
	}
	if err != nil {
		return unreachable("the store cannot be opened: ", err), interrupted(ctx)
	}
	defer taskstore.Close(b)
	findings, usable, err := checkServers(ctx, b)
	if err != nil || !usable {
		return findings, err
	}
	found, err := a.checkTasks(ctx, b, l)
	return append(findings, found...), err
}

// interrupted returns ctx's error if the operator interrupted it. It ignores a timeout,
// which is a finding about the store.
func interrupted(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return nil
}

// unreachable returns the finding that calls fail.
func unreachable(what string, err error) []diagnosis {
	return []diagnosis{{Level: unusable, Setting: what + look.Explain(err), Breaks: "calls fail", Remedy: "the error above names the cause"}}
}

// A checker is a backend that can check its servers.
type checker interface {
	Check(ctx context.Context) ([]taskstore.Finding, error)
}

// checkServers lets the backend check its servers, and reports whether the store is usable.
func checkServers(ctx context.Context, b taskstore.StorageBackend) (all []diagnosis, usable bool, err error) {
	c, ok := taskstore.As[checker](b)
	if !ok {
		return nil, true, nil
	}
	findings, err := c.Check(ctx)
	if err := interrupted(ctx); err != nil {
		return nil, false, err
	}
	usable = err == nil
	for _, f := range findings {
		d := diagnosis{Level: weakened, Node: f.Node, Setting: f.Setting, Breaks: f.Breaks, Remedy: f.Remedy}
		switch {
		case f.Unknown:
			d.Level = notKnown
		case f.Unusable:
			d.Level, usable = unusable, false
		}
		all = append(all, d)
	}
	if err != nil {
		all = append(all, unreachable("the check failed: ", err)...)
	}
	return all, usable, nil
}

// report prints the findings and sets the exit code.
func (a *app) report(findings []diagnosis, form string) error {
	a.code = exitOK
	for _, d := range findings {
		switch d.Level {
		case unusable:
			a.code = exitUnusable
		case weakened:
			a.code = max(a.code, exitFailed)
		}
	}
	if form == formJSON {
		text, err := encode(report{Exit: a.code, Findings: append([]diagnosis{}, findings...)}, "  ")
		if err != nil {
			return err
		}
		_, err = a.Write(text)
		return err
	}
	for _, d := range findings {
		where := ""
		if d.Node != "" {
			where = d.Node + ": "
		}
		fmt.Fprintf(a, "%s: %s\n    %s\n    remedy: %s\n", d.Level, safeLine(where+d.Setting), safeLine(d.Breaks), safeLine(d.Remedy))
	}
	verdict := map[int]string{exitOK: "no faults found", exitFailed: "promises are weakened", exitUnusable: "the store cannot be used"}[a.code]
	_, err := fmt.Fprintln(a, verdict)
	return err
}
