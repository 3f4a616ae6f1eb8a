#!/bin/sh
# Registers the alert hook with Pacemaker, once for the whole cluster. Run it on one node as root. Running it again changes nothing.
set -eu
timeout=60s # twice: Pacemaker goes by the meta attribute, the hook by the option, which is all that it is told
hook=${1:-/usr/bin/pgha-alert}

[ -x "$hook" ] || { echo "$hook is not an executable: install pgha-agent on every node first" >&2; exit 1; }
if cibadmin --query --xpath "//alert[@id='pgha-agent']" >/dev/null 2>&1; then
	echo "alert pgha-agent is registered already"
	exit 0
fi
if command -v pcs >/dev/null; then
	pcs alert create id=pgha-agent path="$hook" description="pgha-agent: publish on promotion" options pgha_timeout=$timeout meta timeout=$timeout
else
	cibadmin --create --scope configuration --xml-text '<alerts/>' 2>/dev/null || true # there may be others
	cibadmin --create --scope alerts --xml-text \
		"<alert id=\"pgha-agent\" path=\"$hook\">
		<meta_attributes id=\"pgha-agent-meta\"><nvpair id=\"pgha-agent-timeout\" name=\"timeout\" value=\"$timeout\"/></meta_attributes>
		<instance_attributes id=\"pgha-agent-options\"><nvpair id=\"pgha-agent-options-timeout\" name=\"pgha_timeout\" value=\"$timeout\"/></instance_attributes>
		</alert>"
fi
