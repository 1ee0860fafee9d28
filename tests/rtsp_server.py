"""Serves a clip over RTSP, from its start to its end: run by the system's Python, which has the GStreamer bindings.

usage: rtsp_server.py PORT CLIP.mp4 [USER PASSWORD]
"""

import sys

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found] # noqa: E402


def main() -> None:
    """Serve until killed; each client gets the packets of the clip as they are, at the clip's own speed."""
    Gst.init(None)
    port, clip, *login = sys.argv[1:]
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f'( filesrc location="{clip}" ! qtdemux ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 )'
    )
    if login:
        gi.require_version("GstRtsp", "1.0")
        from gi.repository import GstRtsp

        user, password = login
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_digest(user, password, token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/line", factory)
    server.attach(None)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
