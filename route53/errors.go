package route53

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Reason says why a call failed. The set is closed: a Reason is also a metric label.
type Reason string

// The reasons.
const (
	ReasonNone         Reason = ""
	ReasonThrottled    Reason = "throttled"     // Throttling: the account's shared limit
	ReasonPriorRequest Reason = "prior_request" // PriorRequestNotComplete: another change of the zone is in progress
	ReasonConflict     Reason = "conflict"      // InvalidChangeBatch: the record is not what the guard expected
	// ReasonRefusedRecord is an alias, weighted or multi-value record under the name. It is never overwritten.
	ReasonRefusedRecord Reason = "refused_record"
	ReasonDenied        Reason = "denied"      // AccessDenied, bad signature, expired token, a proxy that says no
	ReasonCredentials   Reason = "credentials" // no credentials to sign with
	ReasonNoZone        Reason = "no_zone"     // NoSuchHostedZone
	ReasonInvalid       Reason = "invalid"     // the API refused our input
	ReasonTimeout       Reason = "timeout"     // no answer in time: the outcome is not known
	ReasonNetwork       Reason = "network"     // connection failed or broke: the outcome may not be known
	ReasonServer        Reason = "server"      // 5xx
	ReasonGarbage       Reason = "garbage"     // an answer that is not the API's, with a status that says no more
	ReasonGuard         Reason = "guard"       // our own last check said no: nothing was sent
	ReasonOther         Reason = "other"
)

// Reasons lists every Reason but ReasonNone.
var Reasons = []Reason{
	ReasonThrottled, ReasonPriorRequest, ReasonConflict, ReasonRefusedRecord, ReasonDenied, ReasonCredentials,
	ReasonNoZone, ReasonInvalid, ReasonTimeout, ReasonNetwork, ReasonServer, ReasonGarbage, ReasonGuard, ReasonOther,
}

// Error is a failed call with its Reason. Sent reports whether the request may have reached the API:
// when it is false nothing can have changed. Foreign reports that what came back is no document of the API: a proxy may
// have made it after the API took the request, so whatever its Reason, the change may have been made.
type Error struct {
	Op      string // "read record", "write record", "get change"
	Reason  Reason
	Sent    bool
	Foreign bool
	Named   bool // ReasonRefusedRecord: clients of the name are answered something all the same
	Err     error
}

// Error says what failed, its Reason and the cause. It holds no secret: see describe.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: %v", e.Op, e.Reason, e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the Reason inside err: ReasonNone for nil, ReasonOther for an error of another package.
func ReasonOf(err error) Reason {
	if err == nil {
		return ReasonNone
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ReasonOther
}

// credentialsError marks an error of the credentials chain, which has the same shapes as errors of the call itself.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "get credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// guardError marks the refusal of Write.Guard.
type guardError struct{ err error }

func (e *guardError) Error() string { return e.err.Error() }
func (e *guardError) Unwrap() error { return e.err }

// apiError is what is kept of an error that the API reported. The SDK's own error is dropped on purpose: a
// SignatureDoesNotMatch quotes the request back, session token included, and an unwrapped error must not hold that.
type apiError struct {
	code, message, requestID string
}

func (e *apiError) Error() string {
	s := e.code
	if e.message != "" {
		s += ": " + e.message
	}
	if e.requestID != "" {
		s += " (request " + e.requestID + ")"
	}
	return s
}

// errGarbage is an answer with a good status that does not say what an answer must say.
var errGarbage = errors.New("the answer is not one of Route 53")

// foreignError is an answer of another status without the API's error document. A proxy may have made it, before the
// API took the request or after.
type foreignError struct{ status int }

func (e *foreignError) Error() string {
	return fmt.Sprintf("status %d %s without a document of Route 53: a proxy or another server answered",
		e.status, http.StatusText(e.status))
}

// proxyError is the answer of a proxy that makes no way to the API.
type proxyError struct {
	proxy  string // host and port
	status int
}

func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy %s answers %d %s: see HTTPS_PROXY and NO_PROXY", e.proxy, e.status,
		http.StatusText(e.status))
}

// reasonOfStatus is what an answer without a document of the API says.
func reasonOfStatus(status int) Reason {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		return ReasonDenied
	case status == http.StatusTooManyRequests:
		return ReasonThrottled
	case status == http.StatusRequestTimeout:
		return ReasonTimeout
	case status >= http.StatusInternalServerError:
		return ReasonServer
	}
	return ReasonGarbage
}

// documented reports whether err is the API's own error document.
func documented(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() != unknownCode
}

// classify finds the Reason of what the SDK returned.
func classify(err error) Reason {
	var (
		guard *guardError
		creds *credentialsError
		api   smithy.APIError
		bad   *types.InvalidChangeBatch
		resp  *smithyhttp.ResponseError
		deser *smithy.DeserializationError
		page  *foreignError
		proxy *proxyError
		ne    net.Error
		op    *net.OpError
	)
	status := 0
	if errors.As(err, &resp) {
		status = resp.HTTPStatusCode()
	}
	switch {
	case err == nil:
		return ReasonNone
	case errors.As(err, &guard):
		return ReasonGuard
	case errors.As(err, &creds):
		return ReasonCredentials
	case errors.As(err, &bad):
		return ReasonOfBatch(messages(bad))
	case errors.As(err, &api) && api.ErrorCode() == "InvalidChangeBatch":
		return ReasonOfBatch([]string{api.ErrorMessage()})
	case errors.As(err, &api) && api.ErrorCode() != unknownCode:
		return classifyCode(api.ErrorCode(), status)
	case errors.As(err, &page):
		return reasonOfStatus(page.status)
	case errors.As(err, &proxy):
		if r := reasonOfStatus(proxy.status); r == ReasonDenied || r == ReasonThrottled {
			return r
		}
		return ReasonNetwork
	case status >= http.StatusMultipleChoices && reasonOfStatus(status) != ReasonGarbage:
		return reasonOfStatus(status)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonTimeout
	case errors.Is(err, context.Canceled):
		// The caller gave up. Sent says whether that was in time.
		return ReasonOther
	case errors.As(err, &ne) && ne.Timeout():
		return ReasonTimeout
	case isSendError(err) && strings.Contains(err.Error(), "malformed HTTP"):
		return ReasonGarbage
	case isSendError(err), resp != nil && resp.Err != nil && cutShort(resp.Err):
		// The SDK wraps a request without an answer into a ResponseError as well, so this comes before the next case.
		return ReasonNetwork
	case resp != nil, errors.As(err, &deser), errors.Is(err, errGarbage):
		return ReasonGarbage
	case errors.As(err, &op):
		return ReasonNetwork
	}
	return ReasonOther
}

// unknownCode is what the SDK says when an error document has no code.
const unknownCode = "UnknownError"

// deniedCodes are the refusals of who asks, not of what is asked.
var deniedCodes = map[string]bool{
	"AccessDenied": true, "AccessDeniedException": true, "AuthFailure": true, "ExpiredToken": true,
	"ExpiredTokenException": true, "IncompleteSignature": true, "InvalidClientTokenId": true,
	"InvalidSignatureException": true, "InvalidAccessKeyId": true, "MissingAuthenticationToken": true,
	"MissingAuthenticationTokenException": true, "NotAuthorized": true, "OptInRequired": true,
	"RequestExpired": true, "SignatureDoesNotMatch": true, "UnrecognizedClientException": true,
}

func classifyCode(code string, status int) Reason {
	_, throttle := retry.DefaultThrottleErrorCodes[code]
	switch {
	case code == "PriorRequestNotComplete":
		return ReasonPriorRequest
	case throttle:
		return ReasonThrottled
	case deniedCodes[code]:
		return ReasonDenied
	case code == "NoSuchHostedZone":
		return ReasonNoZone
	case code == "InvalidInput", code == "MalformedInput", code == "ValidationError", code == "InvalidDomainName",
		code == "NoSuchChange", code == "NoSuchHealthCheck":
		return ReasonInvalid
	case status >= http.StatusInternalServerError, code == "InternalFailure", code == "InternalError",
		code == "ServiceUnavailable":
		return ReasonServer
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		return ReasonDenied
	case status == http.StatusTooManyRequests:
		return ReasonThrottled
	}
	return ReasonOther
}

// ReasonOfBatch tells apart why a batch was refused. The first three texts mean that somebody else wrote; a conflicting
// kind of record is somebody's decision; the rest is a mistake of ours.
func ReasonOfBatch(messages []string) Reason {
	all := strings.Join(messages, "\n")
	has := func(s string) bool { return strings.Contains(all, s) }
	switch {
	case has("is not permitted because a conflicting RRSet"), has("is not permitted as it conflicts"),
		has("with the same name and type"):
		return ReasonRefusedRecord
	case has("but it already exists"), has("but it was not found"), has("do not match the current values"):
		return ReasonConflict
	}
	return ReasonInvalid
}

// messages gives the sentences of a refused batch: the API has two forms, a list and one text.
func messages(e *types.InvalidChangeBatch) []string {
	if len(e.Messages) > 0 {
		return e.Messages
	}
	return []string{e.ErrorMessage()}
}

// isSendError finds a request that got no answer. A cut connection arrives as a bare EOF inside this type.
func isSendError(err error) bool {
	var e *smithyhttp.RequestSendError
	return errors.As(err, &e)
}

// cutShort finds an answer that broke off in its body.
func cutShort(err error) bool {
	var op *net.OpError
	text := err.Error()
	return errors.As(err, &op) || strings.Contains(text, "unexpected EOF") && !strings.Contains(text, "XML syntax error")
}

// describe makes the error that is kept: what the API said, shortened, the status of another's answer, or the plain
// network error.
func describe(err error) error {
	var (
		guard *guardError
		api   smithy.APIError
		bad   *types.InvalidChangeBatch
		send  *smithyhttp.RequestSendError
		resp  interface {
			error
			ServiceRequestID() string
			HTTPStatusCode() int
		}
		creds *credentialsError
	)
	if errors.As(err, &guard) {
		return guard.err
	}
	fromSource := errors.As(err, &creds)
	if errors.As(err, &api) && (fromSource || api.ErrorCode() != unknownCode) {
		out := &apiError{code: api.ErrorCode(), message: shorten(api.ErrorMessage())}
		switch {
		case errors.As(err, &bad):
			out.message = shorten(strings.Join(messages(bad), "; "))
		case strings.HasPrefix(out.message, "Credential should be scoped to"):
			out.message += " The partition is wrong: check record.region against record.endpoint_url"
		case strings.Contains(out.code, "Signature"):
			out.message = "the API does not accept the signature: check the secret key and the clock"
		}
		if errors.As(err, &resp) {
			out.requestID = resp.ServiceRequestID()
		}
		if fromSource {
			return fmt.Errorf("get credentials: %w", out)
		}
		return out
	}
	if errors.As(err, &send) {
		return send.Err
	}
	if !fromSource && errors.As(err, &resp) && resp.HTTPStatusCode() >= http.StatusMultipleChoices {
		return &foreignError{resp.HTTPStatusCode()}
	}
	return err
}

// shorten bounds a foreign text to one line of reasonable length.
func shorten(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	s = strings.TrimSpace(strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > 400 {
		s = string(r[:400]) + "..."
	}
	return s
}
