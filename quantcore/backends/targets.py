"""The words for where a model ships, said alike by pages, reports and the command line."""

from quantcore.schema import Target

# Of what ships: 'Ship static on openvino on a server or PC'.
WHERE: dict[Target, str] = {
    "server": "on a server or PC",
    "phone": "in the phone app",
    "browser": "in the browser",
}
# Of what kernels are written for: 'made for phones'.
MADE_FOR: dict[Target, str] = {
    "server": "servers and PCs",
    "phone": "phones",
    "browser": "browsers",
}
