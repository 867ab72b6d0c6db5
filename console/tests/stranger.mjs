// A charging station nobody provisioned: opens a WebSocket, boots, and stays. By hand, because all it says is one
// frame.

import { randomBytes } from "node:crypto";
import { request } from "node:http";

/** Connects and sends a BootNotification; resolves once the node has answered it. */
export function connectStranger(base) {
  const identity = `STRANGER-${randomBytes(4).toString("hex")}`;
  const url = new URL(`${base.replace(/^ws/, "http").replace(/\/$/, "")}/${identity}`);
  return new Promise((resolve, reject) => {
    const upgrade = request(url, {
      headers: {
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
        "Sec-WebSocket-Protocol": "ocpp1.6",
      },
    });
    upgrade.on("upgrade", (_, socket) => {
      socket.on("error", reject);
      socket.once("data", () => resolve({ identity, close: () => socket.destroy() }));
      const boot = { chargePointVendor: "Stranger", chargePointModel: "S-1" };
      socket.write(textFrame(JSON.stringify([2, "1", "BootNotification", boot])));
    });
    upgrade.on("response", (response) => reject(new Error(`the node answered ${response.statusCode}`)));
    upgrade.on("error", reject);
    upgrade.end();
  });
}

/** One masked text frame of less than 126 bytes, as a client sends it (RFC 6455, 5.2). */
function textFrame(text) {
  const payload = Buffer.from(text);
  if (payload.length > 125) throw new Error("longer than this needs to be");
  const mask = randomBytes(4);
  const masked = payload.map((byte, at) => byte ^ mask[at % 4]);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, masked]);
}
