// Command server is the fixture for the official MCP conformance suite: an MCP
// server at / with the tools that the suite's tasks scenarios call.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	_ "github.com/taskstore/taskstore/pgstore"     // opens postgres://
	_ "github.com/taskstore/taskstore/sqlitestore" // opens sqlite:
	"github.com/taskstore/taskstore/tasks"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	store := flag.String("store", "memory:", "URL of the store")
	defect := flag.String("defect", "", "break a rule on purpose: "+defects())
	flag.Parse()
	if err := run(*addr, *store, *defect); err != nil {
		log.Fatal(err)
	}
}

func run(addr, storeURL, defect string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	store, err := taskstore.Open(ctx, storeURL)
	if err != nil {
		return err
	}
	defer taskstore.Close(store)
	t, err := mcptasks.New(store, &mcptasks.Options{
		Tasks: tasks.Options{PollInterval: 200 * time.Millisecond, Lease: 5 * time.Second},
		// The suite goes by the letter of SEP-2243.
		RequireNameHeader: true,
		Logger:            slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "taskstore-conformance", Version: "0.1.0"}, nil)
	addTools(t, server)
	if err := t.Install(server); err != nil {
		return err
	}
	if err := install(server, defect); err != nil {
		return err
	}
	handler := t.Handler(mcp.NewStreamableHTTPHandler(
		func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true}))
	drained := make(chan error, 1)
	go func() { drained <- t.Run(ctx, server) }()

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s/\n", listener.Addr())
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		closing, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if web.Shutdown(closing) != nil {
			_ = web.Close() // streams that stay open
		}
	}()
	if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	if err := <-drained; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
