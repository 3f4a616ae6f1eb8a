package doctor

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/pgha/pgha-agent/agent/aws"
)

// powerAnswer is what EC2 would say to a fence device's request.
type powerAnswer struct {
	Device, Instance, Action string
	Code, Message            string // of the error that EC2 answered; DryRunOperation means "yes, you may"
	Err                      error  // when EC2 gave no answer
}

// instanceID is what EC2 calls a machine; other ids belong to other fence devices.
var instanceID = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)

// powerActions are what fence_aws needs. The first is no change at all, the others are sent with DryRun.
var powerActions = []string{"DescribeInstances", "StopInstances", "StartInstances"}

// collectPower asks EC2, for each machine that a fence device of this cluster names, whether we might stop and start
// it.
func collectPower(ctx context.Context, f *Facts) error {
	if f.CIB == nil {
		return f.absence(fromCIB)
	}
	var region string
	if f.Instance != nil {
		region = f.Instance.Region
	}
	for _, d := range f.CIB.FenceDevices() {
		targets, _ := d.FenceTargets()
		for _, node := range targets {
			id := fencePlug(d, node)
			if !instanceID.MatchString(id) {
				continue
			}
			api := ec2API{region: cmp.Or(d.Params["region"], region),
				endpoint: cmp.Or(os.Getenv("AWS_ENDPOINT_URL_EC2"), os.Getenv("AWS_ENDPOINT_URL"))}
			if api.region == "" {
				return absent(unknown("device %s names no region, and instance metadata does not answer",
					d.ID).remedy("`pcs stonith update %s region=REGION`", d.ID))
			}
			if key := d.Params["access_key"]; key != "" {
				api.credentials = credentials.NewStaticCredentialsProvider(key, d.Params["secret_key"], "")
			} else {
				c, err := f.route53Client()
				if err != nil {
					return err
				}
				api.credentials = c.Credentials()
			}
			for _, action := range powerActions {
				a := powerAnswer{Device: d.ID, Instance: id, Action: action}
				a.Code, a.Message, a.Err = api.dryRun(ctx, action, id)
				f.Power = append(f.Power, a)
			}
		}
	}
	if len(f.Power) == 0 {
		return absent(skip("no fence device names an EC2 instance"))
	}
	return nil
}

// ec2API is the little of the EC2 Query API that is needed here.
type ec2API struct {
	region, endpoint string
	credentials      sdk.CredentialsProvider
}

// dryRun asks whether the action would be allowed: DryRun is always sent, so nothing is ever done. EC2 answers with an
// error in any case, whose code it returns: DryRunOperation, UnauthorizedOperation, InvalidInstanceID.NotFound.
func (e ec2API) dryRun(ctx context.Context, action, instance string) (code, message string, err error) {
	to := aws.Endpoint{Service: "ec2", Region: e.region, Credentials: e.credentials,
		HTTP: &http.Client{Timeout: 8 * time.Second}}
	if e.endpoint != "" {
		to.URL = strings.TrimSuffix(e.endpoint, "/") + "/"
	}
	status, answer, err := to.Post(ctx, url.Values{"Action": {action}, "Version": {"2016-11-15"},
		"InstanceId.1": {instance}, "DryRun": {"true"}})
	if err != nil {
		return "", "", err
	}
	var doc struct {
		Code    string `xml:"Errors>Error>Code"`
		Message string `xml:"Errors>Error>Message"`
	}
	if err := xml.Unmarshal(answer, &doc); err != nil {
		return "", "", fmt.Errorf("%s: the answer is not EC2's (status %d)", action, status)
	}
	if doc.Code == "" {
		return "", "", errors.New(action + ": EC2 answered without an error, which a dry run never does")
	}
	return doc.Code, oneLine(doc.Message), nil
}
