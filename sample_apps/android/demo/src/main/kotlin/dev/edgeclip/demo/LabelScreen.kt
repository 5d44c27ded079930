package dev.edgeclip.demo

import android.Manifest
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.height
import androidx.compose.material3.Button
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.unit.dp
import androidx.lifecycle.compose.collectAsStateWithLifecycle
import java.util.Locale
import kotlinx.coroutines.delay

private const val EXAMPLES = "a red circle, a blue star, a green heart, a dog, a cat, a cup, a book, a plant"
private const val TYPING_MS = 600L

/** What the camera sees, or a photo shows, in the words of a list of labels. */
@Composable
fun LabelScreen(model: DemoViewModel) {
    val state by model.labels.collectAsStateWithLifecycle()
    var words by rememberSaveable { mutableStateOf(EXAMPLES) }
    var camera by rememberSaveable { mutableStateOf(false) }
    val permission = rememberLauncherForActivityResult(ActivityResultContracts.RequestPermission()) { camera = it }
    val picker = rememberLauncherForActivityResult(ActivityResultContracts.PickVisualMedia()) { photo ->
        if (photo != null) {
            camera = false
            model.label(photo)
        }
    }
    LaunchedEffect(words) {
        delay(TYPING_MS) // until the user pauses
        model.setLabels(words.split(",").map { it.trim() }.filter { it.isNotEmpty() }.distinct())
    }
    Column(verticalArrangement = Arrangement.spacedBy(8.dp)) {
        if (BundleInfo.labelBank == null) {
            OutlinedTextField(words, { words = it }, Modifier.fillMaxWidth(), label = { Text("Labels") })
        }
        Row(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
            Button({ if (camera) camera = false else permission.launch(Manifest.permission.CAMERA) }) {
                Text(if (camera) "Stop" else "Camera")
            }
            Button({ picker.launch(PickVisualMediaRequest(ActivityResultContracts.PickVisualMedia.ImageOnly)) }) { Text("Photo") }
        }
        if (camera) CameraView(model, Modifier.fillMaxWidth().height(280.dp))
        Scores(state)
    }
}

@Composable
private fun Scores(state: LabelState) {
    if (state.why != null) Text(state.why, color = MaterialTheme.colorScheme.error)
    if (state.scores.isNotEmpty()) Text("${state.ms} ms", style = MaterialTheme.typography.bodySmall)
    for (score in state.scores) {
        Text(String.format(Locale.ROOT, "%s  %.1f %%  (cosine %.3f)", score.label, 100 * score.score, score.cosine))
        LinearProgressIndicator({ score.score.toFloat() }, Modifier.fillMaxWidth())
    }
}
