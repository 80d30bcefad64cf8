package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func yesFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVar(yes, "yes", false, "do not ask")
}

// errNotConfirmed is the error if the operator declines.
var errNotConfirmed = errors.New("the command removed no task")

// confirm asks the operator before an action that cannot be undone.
func (a *app) confirm(ctx context.Context, question string) error {
	if !a.errTTY || a.storeFile == "-" {
		return usagef("this cannot be undone: without a terminal to ask at, give --yes")
	}
	fmt.Fprint(a.err, question+" [y/N] ")
	answer := make(chan string, 1)
	go func() { // may outlive confirm, if the operator types no line
		line, _ := bufio.NewReader(a.in).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.err)
		return ctx.Err()
	case said := <-answer:
		if said != "y" && said != "yes" {
			return errNotConfirmed
		}
		return nil
	}
}
