"""Tables as other tools write them, by hand: OpenFace 2 and 3, py-feat, LibreFace, and blendshapes of MediaPipe.

In each, AU12 rises over five frames at 25 frames per second, and no face is found in the sixth.
"""

from pathlib import Path

RISE = (0.0, 0.1, 0.2, 0.6, 0.8)

# OpenFace 2.2: blanks after commas in older files; 0 and 1 in _c, 0 to 5 in _r; success 0 keeps numbers.
OPENFACE_2 = """\
frame, face_id, timestamp, confidence, success, gaze_0_x, pose_Rx, x_0, AU01_r, AU12_r, AU28_c, AU12_c
1, 0, 0.000, 0.98, 1, 0.01, 0.1, 277.3, 0.00, 0.00, 0.00, 0.00
2, 0, 0.040, 0.98, 1, 0.01, 0.1, 277.3, 0.00, 0.50, 0.00, 0.00
3, 0, 0.080, 0.98, 1, 0.01, 0.1, 277.3, 0.20, 1.00, 0.00, 0.00
4, 0, 0.120, 0.98, 1, 0.01, 0.1, 277.3, 0.20, 3.00, 0.00, 1.00
5, 0, 0.160, 0.98, 1, 0.01, 0.1, 277.3, 0.20, 4.00, 0.00, 1.00
6, 0, 0.200, 0.02, 0, 0.00, 0.0, 0.0, 5.00, 5.00, 1.00, 1.00
"""
# OpenFace 3 (openface-test 0.1.26): the time of day it ran, and eight numbers in one cell.
_OF3 = '2026-01-02 03:04:05,clips/talk.mp4,{frame},{face},"[1.0, 2.0]",,1,0.1,-0.2,{aus}'
OPENFACE_3 = "\n".join(
    [
        "timestamp,video_path,frame_index,face_id,face_detection,landmarks,emotion,gaze_yaw,gaze_pitch,action_units",
        *(
            _OF3.format(frame=at, face=0, aus=f'"[[0.0, 0.0, 0.1, 0.0, 0.0, {value}, 0.9, 0.0]]"')
            for at, value in enumerate(RISE)
        ),
        _OF3.format(frame=5, face="", aus=""),
    ]
)
# py-feat 2.1: a row per face, columns empty where there is none, times of whole seconds.
PY_FEAT = "\n".join(
    [
        "FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,FaceScore,x_0,Pitch,AU01,AU12,AU43,anger,input,frame,"
        "approx_time",
        *(
            line
            for at, value in enumerate(RISE)
            for line in (
                f"1.5,2,30,40,0.99,5,0.1,0.5,{value},0.1,0.2,clips/talk.mp4,{at},00:00",
                f"90,2,30,40,0.98,5,0.1,0.5,0.3,0.1,0.2,clips/talk.mp4,{at},00:00",
            )
        ),
        ",,,,,,,,,,,clips/talk.mp4,5,00:00",
    ]
)
# LibreFace 0.1: milliseconds; 0.2 writes seconds under the same name.
LIBREFACE = "\n".join(
    [
        "frame_idx,frame_time_in_ms,pitch,lm_mp_0_x,au_12,au_1,au_12_intensity,au_5_intensity,facial_expression",
        *(f"{at},{40.0 * at},1.0,0.5,{int(value > 0.5)},0,{5 * value},0.0,Neutral" for at, value in enumerate(RISE)),
        "5,200.0,,,,,,,",
    ]
)
MEDIAPIPE = "\n".join(
    [
        "video,time,jawOpen,mouthSmileLeft,mouthSmileRight,browInnerUp,noseSneerLeft",
        *(f"talk.mp4,{0.04 * at:.2f},0.1,{value},{value / 2},0.05,0.0" for at, value in enumerate(RISE)),
        "talk.mp4,0.20,,,,,",
    ]
)
TABLES = {
    "OpenFace 2": OPENFACE_2,
    "OpenFace 3": OPENFACE_3,
    "py-feat": PY_FEAT,
    "LibreFace": LIBREFACE,
    "MediaPipe": MEDIAPIPE,
}


def write_tool_table(path: Path, tool: str) -> Path:
    path.write_text(TABLES[tool], encoding="utf-8")
    return path
