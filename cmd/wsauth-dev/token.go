package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"time"
)

// printToken asks the issuer that is running for a token and prints it, and nothing else.
func printToken(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var spec tokenSpec
	flags := flag.NewFlagSet("wsauth-dev token", flag.ContinueOnError)
	addr := flags.String("addr", usualAddr, "`address` of the issuer")
	spec.addFlags(flags)
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	if err := checkAddr(*addr); err != nil {
		return err
	}
	token, err := fetchToken(ctx, "http://"+*addr, spec)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, token)
	return err
}

func fetchToken(ctx context.Context, issuer string, spec tokenSpec) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/token", bytes.NewReader(spec.toJSON()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("no issuer runs at %s: start wsauth-dev, or say where it is with -addr (%w)", issuer, err)
	}
	defer resp.Body.Close()
	var answer tokenResponse
	err = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer)
	switch {
	case err == nil && answer.Description != "":
		return "", fmt.Errorf("%s refuses: %s", issuer, answer.Description)
	case err != nil || resp.StatusCode != http.StatusOK || answer.Token == "":
		return "", fmt.Errorf("what runs at %s is not a wsauth-dev: it answers %s", issuer, resp.Status)
	}
	return answer.Token, nil
}
