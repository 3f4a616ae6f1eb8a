package crm_test

import (
	"errors"
	"fmt"

	"github.com/pgha/pgha-agent/crm"
)

// What a running cluster prints; Mon.Look runs crm_mon and parses its output.
func ExampleParse() {
	status, err := crm.Parse([]byte(`<pacemaker-result api-version="2.38" request="crm_mon --output-as=xml">
  <summary><current_dc present="true" version="3.0.0" name="pg-2" id="2" with_quorum="true"/></summary>
  <nodes>
    <node name="pg-1" id="1" online="false" unclean="false" type="member"/>
    <node name="pg-2" id="2" online="true" unclean="false" type="member"/>
  </nodes>
  <resources>
    <clone id="drbd-clone" multi_state="true">
      <resource id="drbd" resource_agent="ocf:linbit:drbd" role="Promoted"><node name="pg-2" id="2"/></resource>
      <resource id="drbd" resource_agent="ocf:linbit:drbd" role="Stopped"/>
    </clone>
  </resources>
  <fence_history>
    <fence_event target="pg-1" action="off" status="success" completed="2026-11-02 10:15:31Z"/>
  </fence_history>
  <status code="0" message="OK"/>
</pacemaker-result>`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("promoted on", status.Promoted("drbd-clone"))
	if node, ok := status.Node("pg-1"); ok {
		fmt.Println("pg-1 is online:", node.Online == crm.Yes)
		fmt.Println("whether it is in standby is known:", node.Standby != crm.Unknown)
	}
	if event, ok := status.LastFence("pg-1"); ok {
		fmt.Println("pg-1 was fenced at", event.Completed)
	}
	// Output:
	// promoted on [pg-2]
	// pg-1 is online: false
	// whether it is in standby is known: false
	// pg-1 was fenced at 2026-11-02 10:15:31 +0000 UTC
}

// A document without data means that nothing is known, not that nothing runs.
func ExampleParse_withoutData() {
	_, err := crm.Parse([]byte(`<pacemaker-result>
  <status code="102" message="Not connected">
    <errors><error>crm_mon: Connection to cluster failed: Connection refused</error></errors>
  </status>
</pacemaker-result>`))
	var said *crm.StatusError
	fmt.Println(errors.As(err, &said), said.Code)

	_, err = crm.Parse([]byte(`<pacemaker-result><status code="0" message="OK"/></pacemaker-result>`))
	fmt.Println(errors.Is(err, crm.ErrNoData))
	// Output:
	// true 102
	// true
}

// What cibadmin prints; CIB.Configuration runs it.
func ExampleParseConfiguration() {
	c, err := crm.ParseConfiguration([]byte(`<configuration>
  <crm_config>
    <cluster_property_set id="options"><nvpair id="o1" name="stonith-enabled" value="true"/></cluster_property_set>
  </crm_config>
  <resources>
    <clone id="drbd-clone">
      <meta_attributes id="m"><nvpair id="m1" name="promotable" value="true"/></meta_attributes>
      <primitive id="drbd" class="ocf" provider="linbit" type="drbd"/>
    </clone>
  </resources>
  <constraints><rsc_location id="prefer" rsc="drbd-clone" node="pg-1" score="50"/></constraints>
</configuration>`))
	if err != nil {
		fmt.Println(err)
		return
	}
	drbd := c.Primitive("drbd")
	fmt.Println(drbd.Agent(), "in", drbd.Top(), "promotable:", c.Clone("drbd").Promotable)
	fmt.Println("fencing enabled:", c.Property("stonith-enabled"))
	fmt.Println("prefers", c.Locations[0].Node, "with", c.Locations[0].Score)
	// Output:
	// ocf:linbit:drbd in drbd-clone promotable: true
	// fencing enabled: true
	// prefers pg-1 with 50
}

// An alert agent finds the alert in its environment: os.Environ().
func ExampleAlertFromEnv() {
	alert, called, err := crm.AlertFromEnv([]string{
		"CRM_alert_kind=resource", "CRM_alert_version=3.0.0", "CRM_alert_node=pg-2", "CRM_alert_node_sequence=17",
		"CRM_alert_rsc=drbd", "CRM_alert_task=promote", "CRM_alert_rc=0",
	})
	if err != nil || !called {
		fmt.Println("not called by Pacemaker:", err)
		return
	}
	fmt.Println(alert.Kind, alert.Task, "of", alert.Resource, "on", alert.Node)

	var numbers crm.Sequence
	numbers.Next(14)
	missed, _ := numbers.Next(alert.Sequence)
	fmt.Println(missed, "alerts are missing")
	// Output:
	// resource promote of drbd on pg-2
	// 2 alerts are missing
}
